package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/slotark/slotark/storage/seal"
)

// TestLargestWindow has a repetition 100 MiB apart, with noise between: with the
// largest window it is found, and the program zstd opens what comes of it without
// being told of the window.
func TestLargestWindow(t *testing.T) {
	const block, between = 4 << 20, 96 << 20
	twice := make([]byte, block)
	rand.NewChaCha8([32]byte{1}).Read(twice)
	noise := io.LimitReader(rand.NewChaCha8([32]byte{2}), between)
	s := sealer(t, seal.Options{Compression: seal.Zstd, Level: seal.Better, Window: seal.MaxWindow})
	body := s.Seal(io.MultiReader(bytes.NewReader(twice), noise, bytes.NewReader(twice)))
	program := exec.CommandContext(t.Context(), "zstd", "-d", "-c")
	program.Stdin = body
	out, complaints := sha256.New(), &bytes.Buffer{}
	program.Stdout, program.Stderr = out, complaints
	if err := errors.Join(program.Run(), body.Close()); err != nil {
		t.Fatalf("zstd -d: %v: %s", err, complaints)
	}
	if sum := hex.EncodeToString(out.Sum(nil)); sum != body.Plain().SHA256 || body.Plain().Bytes != between+2*block {
		t.Errorf("zstd -d gives bytes with the SHA-256 %s, and sealed were %+v", sum, body.Plain())
	}
	// Noise cannot be compressed; what comes a second time costs next to nothing.
	if most := int64(between + block + block/10); body.Stored().Bytes > most {
		t.Errorf("%d bytes became %d, want at most %d", body.Plain().Bytes, body.Stored().Bytes, most)
	}
}
