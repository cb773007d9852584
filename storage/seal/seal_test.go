package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/slotark/slotark/storage/seal"
)

// text is bytes that compress somewhat, always the same ones.
func text(size int) []byte {
	noise := rand.New(rand.NewPCG(1, uint64(size)))
	out := make([]byte, size)
	for i := range out {
		out[i] = "etaoin shrdlu"[noise.IntN(13)]
	}
	return out
}

// sealed is what a sealer makes of some bytes. It checks the sums.
func sealed(t testing.TB, s *seal.Sealer, plain []byte) []byte {
	t.Helper()
	body := s.Seal(bytes.NewReader(plain))
	stored, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	if body.Plain() != sumOf(plain) || body.Stored() != sumOf(stored) {
		t.Errorf("summed up %v and %v, want %v and %v", body.Plain(), body.Stored(), sumOf(plain), sumOf(stored))
	}
	return stored
}

func sumOf(p []byte) seal.Sum {
	sum := sha256.Sum256(p)
	return seal.Sum{Bytes: int64(len(p)), SHA256: hex.EncodeToString(sum[:])}
}

// opened is what comes of sealed bytes, as far as it comes.
func opened(stored io.Reader, l seal.Lock, keys *seal.Identities) ([]byte, error) {
	body, err := seal.Unseal(stored, l, keys)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(body)
	return plain, errors.Join(err, body.Close())
}

func sealer(t testing.TB, o seal.Options) *seal.Sealer {
	t.Helper()
	s, err := seal.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRoundTrip seals and opens with all that can be chosen, around the sizes
// at which something changes: age's piece, zstd's block, our buffers.
func TestRoundTrip(t *testing.T) {
	x, h, ed, rsa := newKey(t, "x25519"), newKey(t, "hybrid"), newKey(t, "ed25519"), newKey(t, "rsa")
	recipients := map[string][]testKey{
		"nobody": nil, "one": {x}, "two": {newKey(t, "x25519"), x}, "hybrid": {h}, "ssh": {ed}, "rsa beside age": {rsa, x},
	}
	for who, keys := range recipients {
		for _, compression := range []string{seal.None, seal.Zstd} {
			for _, level := range []string{seal.Fastest, seal.Default, seal.Better, seal.Best} {
				// The levels do not depend on who may open what they made.
				if level != seal.Fastest && (compression == seal.None || who != "one") {
					continue
				}
				for _, shape := range []struct {
					window  int64
					workers int
				}{{}, {1 << 16, 1}, {1 << 16, 4}} {
					t.Run(fmt.Sprint(who, "/", compression, "/", level, "/", shape), func(t *testing.T) {
						o := seal.Options{Compression: compression, Level: level, Window: shape.window, Workers: shape.workers}
						roundTrip(t, o, keys)
					})
				}
			}
		}
	}
}

func roundTrip(t *testing.T, o seal.Options, keys []testKey) {
	t.Helper()
	var identities *seal.Identities
	for _, k := range keys {
		o.Recipients = append(o.Recipients, k.recipient(t))
		identities = k.identities(t) // the last one's
	}
	s := sealer(t, o)
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256 << 10, 1<<20 + 17, 3<<20 + 5} {
		plain := text(size)
		stored := sealed(t, s, plain)
		back, err := opened(iotest.HalfReader(bytes.NewReader(stored)), s.Lock(), identities)
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%d bytes: %d came back, %v", size, len(back), err)
		}
		if s.Lock().Sealed() == bytes.Equal(stored, plain) {
			t.Errorf("%d bytes: the lock says %+v, and the bytes do not", size, s.Lock())
		}
	}
}

// Every identity of several opens alone.
func TestEachRecipientOpens(t *testing.T) {
	keys := []testKey{newKey(t, "x25519"), newKey(t, "ed25519"), newKey(t, "x25519")}
	o := seal.Options{Compression: seal.Zstd}
	for _, k := range keys {
		o.Recipients = append(o.Recipients, k.recipient(t))
	}
	s := sealer(t, o)
	stored := sealed(t, s, text(1000))
	for i, k := range keys {
		if back, err := opened(bytes.NewReader(stored), s.Lock(), k.identities(t)); err != nil || !bytes.Equal(back, text(1000)) {
			t.Errorf("recipient %d cannot open it: %v", i+1, err)
		}
	}
}

// The source's error comes out as it is, and never an end.
func TestSealReportsTheSource(t *testing.T) {
	broken := errors.New("the dump is damaged")
	for name, o := range map[string]seal.Options{
		"as it is": {}, "compressed": {Compression: seal.Zstd}, "in parts": {Compression: seal.Zstd, Workers: 4, Window: 1 << 16},
		"encrypted": {Recipients: []seal.Recipient{newKey(t, "x25519").recipient(t)}},
		"both":      {Compression: seal.Zstd, Recipients: []seal.Recipient{newKey(t, "x25519").recipient(t)}},
	} {
		for _, size := range []int{0, 1, 100_000, 3 << 20} {
			body := sealer(t, o).Seal(io.MultiReader(bytes.NewReader(text(size)), iotest.ErrReader(broken)))
			if _, err := io.Copy(io.Discard, body); !errors.Is(err, broken) {
				t.Errorf("%s, after %d bytes: got %v, want the source's error", name, size, err)
			}
			body.Close()
		}
	}
}

// Closed in the middle, a sealing leaves the source alone: after Close nobody
// reads it, which the race detector would see.
func TestCloseEndsASealing(t *testing.T) {
	for _, workers := range []int{1, 2, 4} {
		source := bytes.NewReader(text(16 << 20))
		body := sealer(t, seal.Options{Compression: seal.Zstd, Workers: workers, Window: 1 << 16}).Seal(source)
		if _, err := io.ReadFull(body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		body.Close()
		left := source.Len()
		if _, err := body.Read(make([]byte, 1)); err == nil || left == 0 || source.Len() != left {
			t.Errorf("%d workers: %d bytes left, then %d; a further read gives %v", workers, left, source.Len(), err)
		}
	}
}

// endless is a source that counts what it has given.
type endless struct{ given int }

func (e *endless) Read(p []byte) (int, error) {
	e.given += len(p)
	return len(p), nil
}

// A source may be ahead of a store that takes nothing by some blocks, and not
// by more: memory is theirs.
func TestSealingWaitsForTheStore(t *testing.T) {
	for name, o := range map[string]seal.Options{
		"plain":     {},
		"encrypted": {Recipients: []seal.Recipient{newKey(t, "x25519").recipient(t)}},
	} {
		s := sealer(t, o)
		synctest.Test(t, func(t *testing.T) {
			source := &endless{}
			body := s.Seal(source)
			synctest.Wait()
			if source.given < 1<<20 || source.given > 4<<20 {
				t.Errorf("%s: %d bytes are read ahead, want 1 to 4 MiB", name, source.given)
			}
			body.Close()
		})
	}
}

func TestUnsealReportsTheSource(t *testing.T) {
	broken := errors.New("the store went away")
	key := newKey(t, "x25519")
	s := sealer(t, seal.Options{Compression: seal.Zstd, Recipients: []seal.Recipient{key.recipient(t)}})
	stored := sealed(t, s, text(300_000))
	for at := 0; at <= len(stored); at += 4999 {
		_, err := opened(io.MultiReader(bytes.NewReader(stored[:at]), iotest.ErrReader(broken)), s.Lock(), key.identities(t))
		if !errors.Is(err, broken) || errors.Is(err, seal.ErrDamaged) {
			t.Errorf("at byte %d: got %v, want the store's error alone", at, err)
		}
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for want, o := range map[string]seal.Options{
		`compression "gzip"`:               {Compression: "gzip"},
		`compression level "9"`:            {Compression: seal.Zstd, Level: "9"},
		"compression window of 1000 bytes": {Compression: seal.Zstd, Window: 1000},
		"window of 268435456 bytes":        {Compression: seal.Zstd, Window: 256 << 20},
		"-1 compression workers":           {Compression: seal.Zstd, Workers: -1},
		"recipients":                       {Recipients: []seal.Recipient{newKey(t, "hybrid").recipient(t), newKey(t, "x25519").recipient(t)}},
	} {
		if _, err := seal.New(o); err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
