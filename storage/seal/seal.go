package seal

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"github.com/slotark/slotark/internal/hint"
)

// What can be done to an object.
const (
	None = "none"
	Zstd = "zstd" // a compression
	Age  = "age"  // an encryption
)

// Levels of compression, from the fastest to the smallest.
const (
	Fastest = "fastest"
	Default = "default"
	Better  = "better"
	Best    = "best"
)

// Bounds of [Options.Window]. Up to the larger one the program `zstd -d` opens
// an object without being told to, and so does Unseal.
const (
	MinWindow = 1 << 10
	MaxWindow = 128 << 20
)

// MaxWorkers bounds [Options.Workers].
const MaxWorkers = 64

// pipelined is how many workers share one stream without cutting it in parts:
// one looks for matches, one codes what was found. Each block is handed from one
// processor to the other, which costs more than half of what the second is worth.
const pipelined = 2

const (
	// fastestWindow is the window of the fastest level, whose table of 32,768
	// places seldom reaches further back. All that a worker touches stays in the
	// processor's own cache.
	fastestWindow = 256 << 10
	// frameWindow is the largest window with which an object is compressed in frames.
	// Each of them begins without one.
	frameWindow = frameBytes / 2
)

var levels = map[string]zstd.EncoderLevel{
	"": zstd.SpeedFastest, Fastest: zstd.SpeedFastest, Default: zstd.SpeedDefault,
	Better: zstd.SpeedBetterCompression, Best: zstd.SpeedBestCompression,
}

// ErrNoIdentity is returned where what was sealed to recipients is to be
// opened, and no identity that was given is one of theirs.
var ErrNoIdentity = errors.New("cannot decrypt")

// ErrDamaged is returned for sealed bytes that are not as they were sealed.
var ErrDamaged = errors.New("the sealed bytes are damaged")

// Lock says how an object was sealed, and who can open it.
type Lock struct {
	Compression string   // Zstd or None
	Encryption  string   // Age or None
	Recipients  []string // public keys, where it is encrypted
}

// Sealed tells whether the stored bytes are other than the plain ones.
func (l Lock) Sealed() bool { return l.Compression == Zstd || l.Encryption == Age }

// Suffix is what the name of an object ends in, for a person and their tools.
func (l Lock) Suffix() string {
	suffix := ""
	if l.Compression == Zstd {
		suffix += ".zst"
	}
	if l.Encryption == Age {
		suffix += ".age"
	}
	return suffix
}

// Options says how to seal. The zero value leaves the bytes as they are.
type Options struct {
	Compression string // Zstd or None; "" is None
	Level       string // one of the levels; "" is Fastest
	// Window is how far back a repetition is found, in bytes: a power of two.
	// 0 is what the level has: 256 KiB of the fastest one, 8 MiB of the others.
	// Only Better and Best remember enough places to find one that is 100 MiB back
	// behind what does not compress; the others have forgotten it.
	// Sealing takes about two windows of memory, opening one.
	Window int64
	// Workers is how many processors one object may occupy. 0 is two. With windows
	// up to 512 KiB each compresses a frame of 1 MiB, which opens by itself: side by
	// side with others too, and without those before it ([OpenParts]). With larger ones
	// more than two compress parts of four windows side by side.
	Workers    int
	Recipients []Recipient // none: no encryption
}

// Sealer seals objects. It is safe for concurrent use.
type Sealer struct {
	lock       Lock
	compressor []zstd.EOption
	frames     int // how many are compressed side by side; 0: the object is one stream
	recipients []age.Recipient
}

// Plain is a sealer that leaves the bytes as they are, and sums them up.
func Plain() *Sealer { return &Sealer{lock: Lock{Compression: None, Encryption: None}} }

// New checks the options and returns a sealer. Only public keys are needed.
func New(o Options) (*Sealer, error) {
	s := Plain()
	level, known := levels[o.Level]
	switch {
	case o.Compression != "" && o.Compression != None && o.Compression != Zstd:
		return nil, fmt.Errorf("compression %q: want %s or %s", o.Compression, Zstd, None)
	case !known:
		return nil, fmt.Errorf("compression level %q: want %s", o.Level, strings.Join([]string{Fastest, Default, Better, Best}, ", "))
	case o.Window != 0 && (o.Window < MinWindow || o.Window > MaxWindow || bits.OnesCount64(uint64(o.Window)) != 1):
		return nil, fmt.Errorf("compression window of %d bytes: want a power of two from 1KiB to 128MiB", o.Window)
	case o.Workers < 0 || o.Workers > MaxWorkers:
		return nil, fmt.Errorf("%d compression workers: want 1 to %d", o.Workers, MaxWorkers)
	}
	if o.Compression == Zstd {
		s.lock.Compression = Zstd
		window := o.Window
		if window == 0 && level == zstd.SpeedFastest {
			window = fastestWindow
		}
		s.compressor = o.compressor(level, window)
		if window != 0 && window <= frameWindow {
			s.frames = o.workers()
			s.compressor = append(s.compressor, zstd.WithSingleSegment(true)) // its header says how much is in it
		}
	}
	for _, r := range o.Recipients {
		if slices.Contains(s.lock.Recipients, r.text) {
			continue
		}
		s.lock.Encryption = Age
		s.lock.Recipients = append(s.lock.Recipients, r.text)
		s.recipients = append(s.recipients, r.key)
	}
	// Some recipients cannot stand beside each other. That is to be known now.
	if len(s.recipients) > 0 {
		if _, err := age.Encrypt(io.Discard, s.recipients...); err != nil {
			return nil, hint.Add(fmt.Errorf("recipients: %w", err), "give either recipients age1pq1… only, or none of them")
		}
	}
	return s, nil
}

// compressor is how the encoder is set up. The window comes before the level: a
// level that finds none halves the blocks, and each block has its own tables.
func (o Options) compressor(level zstd.EncoderLevel, window int64) []zstd.EOption {
	var options []zstd.EOption
	if window != 0 {
		options = append(options, zstd.WithWindowSize(int(window)))
	}
	workers := o.workers()
	return append(options, zstd.WithEncoderLevel(level), zstd.WithZeroFrames(true),
		zstd.WithEncoderConcurrency(workers), zstd.WithConcurrentBlocks(workers > pipelined))
}

func (o Options) workers() int {
	if o.Workers == 0 {
		return min(pipelined, runtime.GOMAXPROCS(0))
	}
	return o.Workers
}

// Lock says how this sealer seals.
func (s *Sealer) Lock() Lock { return s.lock }

// WithCompression returns a sealer that encrypts as this one does, and takes
// bytes that are already compressed as its lock will then say.
func (s *Sealer) WithCompression(compression string) *Sealer {
	lock := s.lock
	lock.Compression = compression
	return &Sealer{lock: lock, recipients: s.recipients}
}
