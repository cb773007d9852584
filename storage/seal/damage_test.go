package seal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/slotark/slotark/storage/seal"
)

// agePiece is how many stored bytes age authenticates at once.
const agePiece = 64<<10 + 16

// TestTruncation cuts a sealed object at each byte around the ends of age's
// pieces, and short ones everywhere: never an end, and nothing that was not
// sealed.
func TestTruncation(t *testing.T) {
	key := newKey(t, "x25519")
	for name, o := range map[string]seal.Options{
		"compressed": {Compression: seal.Zstd},
		"encrypted":  {Recipients: []seal.Recipient{key.recipient(t)}},
		"both":       {Compression: seal.Zstd, Recipients: []seal.Recipient{key.recipient(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sealer(t, o)
			for _, size := range []int{0, 700, 64 << 10, 400_000} {
				plain := text(size)
				stored := sealed(t, s, plain)
				header := (len(stored)) % agePiece // where the first piece would begin, if the last were full
				if s.Lock().Encryption == seal.Age {
					header = bytes.Index(stored, []byte("\n---")) + 4 + 1 + 43 + 1 + 16 // MAC line, nonce
				}
				for at := 0; at < len(stored); at++ {
					near := (at - header + agePiece) % agePiece
					if len(stored) > 4096 && near > 1 && near < agePiece-1 && at < len(stored)-2 && at%4001 != 0 {
						continue
					}
					back, err := opened(bytes.NewReader(stored[:at]), s.Lock(), key.identities(t))
					if !errors.Is(err, seal.ErrDamaged) || !bytes.HasPrefix(plain, back) {
						t.Fatalf("%d bytes cut at %d of %d: %d came back, %v", size, at, len(stored), len(back), err)
					}
				}
			}
		})
	}
}

// TestFlippedBits flips each bit of a small encrypted object, header included:
// every one is found, and nothing that was not sealed is handed on.
func TestFlippedBits(t *testing.T) {
	key, other := newKey(t, "x25519"), newKey(t, "x25519")
	for name, o := range map[string]seal.Options{
		"encrypted": {Recipients: []seal.Recipient{key.recipient(t), other.recipient(t)}},
		"both":      {Compression: seal.Zstd, Recipients: []seal.Recipient{key.recipient(t), other.recipient(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := sealer(t, o)
			stored := sealed(t, s, text(300))
			for at := range stored {
				for bit := range 8 {
					flipped := bytes.Clone(stored)
					flipped[at] ^= 1 << bit
					back, err := opened(bytes.NewReader(flipped), s.Lock(), key.identities(t))
					if !errors.Is(err, seal.ErrDamaged) || len(back) > 0 {
						t.Fatalf("bit %d of byte %d of %d: %d bytes came back, %v", bit, at, len(stored), len(back), err)
					}
				}
			}
		})
	}
}

// Without encryption zstd's own checksum finds what changes the content; what
// it passes over (bits without a meaning) changes nothing.
func TestFlippedBitsOfCompressed(t *testing.T) {
	s := sealer(t, seal.Options{Compression: seal.Zstd})
	plain := text(2000)
	stored := sealed(t, s, plain)
	missed := 0
	for at := range stored {
		for bit := range 8 {
			flipped := bytes.Clone(stored)
			flipped[at] ^= 1 << bit
			back, err := opened(bytes.NewReader(flipped), s.Lock(), nil)
			switch {
			case err == nil && bytes.Equal(back, plain):
				missed++
			case !errors.Is(err, seal.ErrDamaged):
				t.Fatalf("bit %d of byte %d: %d bytes came back, %v", bit, at, len(back), err)
			}
		}
	}
	if missed > 16 {
		t.Errorf("%d of %d flipped bits change nothing: more than a frame header has to spare", missed, 8*len(stored))
	}
}

// What follows the end is damage too.
func TestTrailingBytes(t *testing.T) {
	key := newKey(t, "x25519")
	for name, o := range map[string]seal.Options{
		"compressed": {Compression: seal.Zstd},
		"both":       {Compression: seal.Zstd, Recipients: []seal.Recipient{key.recipient(t)}},
	} {
		s := sealer(t, o)
		stored := sealed(t, s, text(5000))
		for _, more := range []string{"x", "REDIS0010", string(make([]byte, 100))} {
			if _, err := opened(bytes.NewReader(append(bytes.Clone(stored), more...)), s.Lock(), key.identities(t)); !errors.Is(err, seal.ErrDamaged) {
				t.Errorf("%s, followed by %q: got %v", name, more, err)
			}
		}
	}
}

// TestHostileFrames asks for gigabytes in a few bytes.
func TestHostileFrames(t *testing.T) {
	magic := binary.LittleEndian.AppendUint32(nil, 0xFD2FB528)
	lock := seal.Lock{Compression: seal.Zstd, Encryption: seal.None}
	for name, frame := range map[string][]byte{
		"a window of 256 MiB": append(bytes.Clone(magic), 0, 18<<3, 1, 0, 0),
		"a window of 2 GiB":   append(bytes.Clone(magic), 0, 21<<3, 1, 0, 0),
		"a window of 3.75 TB": append(bytes.Clone(magic), 0, 0xff, 1, 0, 0),
		"a content of 2^63":   append(append(bytes.Clone(magic), 0xe0), 0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := opened(bytes.NewReader(frame), lock, nil)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 32<<20 {
			t.Errorf("%s took %d MiB", name, taken>>20)
		}
	}
}

// TestMemory streams a gigabyte both ways and holds the heap against a limit.
func TestMemory(t *testing.T) {
	const size, limit = 1 << 30, 64 << 20
	key := newKey(t, "x25519")
	s := sealer(t, seal.Options{Compression: seal.Zstd, Recipients: []seal.Recipient{key.recipient(t)}})
	body := s.Seal(io.LimitReader(&repeated{piece: text(3 << 20)}, size))
	defer body.Close()
	plain, err := seal.Unseal(body, s.Lock(), key.identities(t))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	buffer, total, peak := make([]byte, 1<<20), int64(0), uint64(0)
	for err == nil {
		var n int
		n, err = io.ReadFull(plain, buffer)
		if total += int64(n); total%(64<<20) == 0 {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapInuse)
		}
	}
	t.Logf("the heap's peak was %d MiB", peak>>20)
	if total != size || !errors.Is(err, io.EOF) || peak > limit {
		t.Errorf("%d bytes came back, %v; the heap's peak was %d MiB", total, err, peak>>20)
	}
}

// repeated is one piece again and again.
type repeated struct {
	piece []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.piece[r.at:])
	r.at = (r.at + n) % len(r.piece)
	return n, nil
}
