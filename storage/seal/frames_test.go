package seal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/slotark/slotark/storage/seal"
)

// plainFrame is how much stands in a frame.
const plainFrame = 1 << 20

// locks are the ways in which an object's parts open by themselves.
func locks(key func() seal.Recipient) map[string]seal.Options {
	return map[string]seal.Options{
		"as it is": {}, "compressed": {Compression: seal.Zstd}, "best, with a small window": {Compression: seal.Zstd, Level: seal.Best, Window: 64 << 10},
		"encrypted": {Recipients: []seal.Recipient{key()}},
		"both":      {Compression: seal.Zstd, Recipients: []seal.Recipient{key()}},
	}
}

// readAt counts what was read of a sealed object.
type readAt struct {
	io.ReaderAt
	bytes int64
}

func (r *readAt) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, at)
	r.bytes += int64(n)
	return n, err
}

// TestParts opens an object at places around the ends of its frames and of age's pieces.
func TestParts(t *testing.T) {
	key := newKey(t, "x25519")
	plain := text(5*plainFrame + 12345)
	for name, o := range locks(func() seal.Recipient { return key.recipient(t) }) {
		t.Run(name, func(t *testing.T) {
			s := sealer(t, o)
			stored := sealed(t, s, plain)
			for _, at := range []int{0, 1, 64<<10 - 1, plainFrame - 3, plainFrame, 3*plainFrame - 1, 5 * plainFrame, len(plain) - 7} {
				src := &readAt{ReaderAt: bytes.NewReader(stored)}
				parts, err := seal.OpenParts(src, int64(len(stored)), s.Lock(), key.identities(t))
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, min(100, len(plain)-at))
				if n, err := parts.ReadAt(got, int64(at)); n != len(got) || err != nil && err != io.EOF || !bytes.Equal(got, plain[at:][:n]) {
					t.Errorf("at %d: %d bytes, %v", at, n, err)
				}
				if limit := int64(len(stored)) / 2; src.bytes > limit {
					t.Errorf("at %d: %d of %d stored bytes were read for 100", at, src.bytes, len(stored))
				}
			}
			parts, err := seal.OpenParts(bytes.NewReader(stored), int64(len(stored)), s.Lock(), key.identities(t))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(io.NewSectionReader(parts, 0, int64(len(plain))+1)); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("all of it: %d bytes, %v", len(got), err)
			}
			if n, err := parts.ReadAt(make([]byte, 10), int64(len(plain))-4); n != 4 || err != io.EOF {
				t.Errorf("over its end: %d bytes, %v", n, err)
			}
		})
	}
}

// TestPartsFail reads what does not open in parts, or not at all.
func TestPartsFail(t *testing.T) {
	key, other := newKey(t, "x25519"), newKey(t, "x25519")
	broken := errors.New("the store went away")
	plain := text(3*plainFrame + 5)
	both := sealer(t, seal.Options{Compression: seal.Zstd, Recipients: []seal.Recipient{key.recipient(t)}})
	bare := sealer(t, seal.Options{Compression: seal.Zstd})
	stream := sealer(t, seal.Options{Compression: seal.Zstd, Level: seal.Default})
	flipped := func(stored []byte, at int) io.ReaderAt {
		stored = bytes.Clone(stored)
		stored[at] ^= 1
		return bytes.NewReader(stored)
	}
	compressed, locked := sealed(t, bare, plain), sealed(t, both, plain)
	tableAt := len(compressed) - 8 - 4*12 - 9
	for name, c := range map[string]struct {
		src   io.ReaderAt
		bytes int
		s     *seal.Sealer
		keys  *seal.Identities
		want  error
	}{
		"another's key":        {bytes.NewReader(locked), len(locked), both, other.identities(t), seal.ErrNoIdentity},
		"no store":             {brokenAt{broken}, len(locked), both, key.identities(t), broken},
		"one stream":           {bytes.NewReader(sealed(t, stream, plain)), len(sealed(t, stream, plain)), stream, nil, seal.ErrWhole},
		"one frame":            {bytes.NewReader(sealed(t, bare, plain[:1000])), len(sealed(t, bare, plain[:1000])), bare, nil, seal.ErrWhole},
		"nothing":              {bytes.NewReader(sealed(t, bare, nil)), len(sealed(t, bare, nil)), bare, nil, seal.ErrWhole},
		"cut":                  {bytes.NewReader(compressed[:tableAt]), tableAt, bare, nil, seal.ErrWhole},
		"shorter than said":    {bytes.NewReader(compressed[:tableAt]), len(compressed), bare, nil, seal.ErrDamaged},
		"cut and encrypted":    {bytes.NewReader(locked[:len(locked)-1]), len(locked) - 1, both, key.identities(t), seal.ErrDamaged},
		"a size in the table":  {flipped(compressed, tableAt+8), len(compressed), bare, nil, seal.ErrDamaged},
		"a plain size in it":   {flipped(compressed, tableAt+12), len(compressed), bare, nil, seal.ErrDamaged},
		"a checksum in it":     {flipped(compressed, tableAt+16), len(compressed), bare, nil, seal.ErrDamaged},
		"its magic":            {flipped(compressed, tableAt), len(compressed), bare, nil, seal.ErrDamaged},
		"a frame":              {flipped(compressed, 5000), len(compressed), bare, nil, seal.ErrDamaged},
		"a frame, encrypted":   {flipped(locked, 5000), len(locked), both, key.identities(t), seal.ErrDamaged},
		"another frame's":      {flipped(compressed, tableAt-5000), len(compressed), bare, nil, nil},
		"another's, encrypted": {flipped(locked, len(locked)/2), len(locked), both, key.identities(t), nil},
	} {
		parts, err := seal.OpenParts(c.src, int64(c.bytes), c.s.Lock(), c.keys)
		if err == nil {
			_, err = parts.ReadAt(make([]byte, 1000), 10)
		}
		if !errors.Is(err, c.want) || c.want == broken && errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// brokenAt fails at every place.
type brokenAt struct{ err error }

func (f brokenAt) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// TestFrameEnds cuts an object at and around every end of a frame, and in its table:
// what is missing is missed, also where zstd itself sees nothing but an end.
func TestFrameEnds(t *testing.T) {
	for _, size := range []int{plainFrame, plainFrame + 1, 3*plainFrame + 77} {
		plain := text(size)
		s := sealer(t, seal.Options{Compression: seal.Zstd})
		stored := sealed(t, s, plain)
		frames := (size + plainFrame - 1) / plainFrame
		tableAt := len(stored) - 8 - frames*12 - 9
		ends := []int{tableAt}
		for n, at := frames-1, tableAt; n > 0; n-- {
			at -= int(binary.LittleEndian.Uint32(stored[tableAt+8+n*12:]))
			ends = append(ends, at)
		}
		for _, end := range ends {
			for at := end - 3; at <= end+20 && at < len(stored); at++ {
				back, err := opened(bytes.NewReader(stored[:at]), s.Lock(), nil)
				if !errors.Is(err, seal.ErrDamaged) || !bytes.HasPrefix(plain, back) {
					t.Fatalf("%d bytes cut at %d of %d: %d came back, %v", size, at, len(stored), len(back), err)
				}
			}
		}
		for at := tableAt; at < len(stored); at++ {
			changed := bytes.Clone(stored)
			changed[at] ^= 1
			if _, err := opened(bytes.NewReader(changed), s.Lock(), nil); !errors.Is(err, seal.ErrDamaged) {
				t.Fatalf("byte %d of the table: %v", at-tableAt, err)
			}
		}
		if _, err := opened(iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(stored), stored...))), s.Lock(), nil); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("twice: %v", err)
		}
	}
}

// TestFramesInAnotherOrder takes a frame out, has one twice, and swaps two: each of them
// is whole, and the object is not.
func TestFramesInAnotherOrder(t *testing.T) {
	s := sealer(t, seal.Options{Compression: seal.Zstd})
	pieces := [][]byte{text(plainFrame), text(plainFrame)[7:], text(plainFrame + 9)}
	stored := sealed(t, s, bytes.Join(pieces, nil))
	table := stored[len(stored)-8-4*12-9:]
	var frames [][]byte
	for at, n := 0, sizesOf(table); len(n) > 0; n = n[1:] {
		frames = append(frames, stored[at:at+n[0]])
		at += n[0]
	}
	for name, order := range map[string][]int{"missing": {0, 2, 3}, "twice": {0, 1, 1, 2, 3}, "the last one first": {3, 0, 1, 2}, "swapped": {1, 0, 2, 3}} {
		var changed []byte
		for _, n := range order {
			changed = append(changed, frames[n]...)
		}
		_, err := opened(bytes.NewReader(append(changed, table...)), s.Lock(), nil)
		if !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sizesOf are the compressed sizes of a table of four frames.
func sizesOf(table []byte) (sizes []int) {
	for n := range 4 {
		sizes = append(sizes, int(binary.LittleEndian.Uint32(table[8+12*n:])))
	}
	return sizes
}

// The program zstd opens what was compressed in frames, and knows its table for
// something to pass over.
func TestProgramOpensFrames(t *testing.T) {
	for _, size := range []int{0, 10, plainFrame, 2*plainFrame + 3} {
		plain := text(size)
		program := exec.CommandContext(t.Context(), "zstd", "-d", "-c")
		program.Stdin = bytes.NewReader(sealed(t, sealer(t, seal.Options{Compression: seal.Zstd}), plain))
		if out, err := program.Output(); err != nil || !bytes.Equal(out, plain) {
			t.Errorf("%d bytes: %d come out, %v", size, len(out), err)
		}
	}
}

// TestOneStream opens what was compressed as one frame, or by hand: as older snapshots are.
func TestOneStream(t *testing.T) {
	lock := seal.Lock{Compression: seal.Zstd, Encryption: seal.None}
	for _, size := range []int{0, 1000, 300_000, 3*plainFrame + 9} {
		plain := text(size)
		for name, options := range map[string][]zstd.EOption{
			"by blocks": {zstd.WithZeroFrames(true), zstd.WithWindowSize(256 << 10), zstd.WithEncoderConcurrency(2)},
			"by parts":  {zstd.WithZeroFrames(true), zstd.WithWindowSize(256 << 10), zstd.WithEncoderConcurrency(2), zstd.WithConcurrentBlocks(true)},
		} {
			var stored bytes.Buffer
			encoder, err := zstd.NewWriter(&stored, options...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = encoder.Write(plain)
			if err := errors.Join(err, encoder.Close()); err != nil {
				t.Fatal(err)
			}
			if back, err := opened(&stored, lock, nil); err != nil || !bytes.Equal(back, plain) {
				t.Errorf("%s, %d bytes: %d came back, %v", name, size, len(back), err)
			}
		}
	}
}

// FuzzParts opens anything at any place: it either gives what the whole gives there, or
// fails.
func FuzzParts(f *testing.F) {
	s := sealer(f, seal.Options{Compression: seal.Zstd})
	stored := sealed(f, s, text(2*plainFrame+50))
	f.Add(stored, int64(plainFrame-5))
	f.Add(stored[:len(stored)-30], int64(0))
	f.Add(sealed(f, s, text(100)), int64(50))
	f.Fuzz(func(t *testing.T, stored []byte, at int64) {
		whole, failure := opened(bytes.NewReader(stored), s.Lock(), nil)
		parts, err := seal.OpenParts(bytes.NewReader(stored), int64(len(stored)), s.Lock(), nil)
		if err != nil {
			return
		}
		got := make([]byte, 50)
		n, err := parts.ReadAt(got, at)
		if failure == nil && (err == nil || err == io.EOF) && (at < 0 || !bytes.HasPrefix(whole[min(at, int64(len(whole))):], got[:n])) {
			t.Error(fmt.Sprint("at ", at, ": ", n, " other bytes"))
		}
	})
}
