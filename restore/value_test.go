package restore

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/rdb"
)

// TestValue writes values of all sizes around the limit, large ones after
// small ones and back, and holds the command against one that was made whole.
func TestValue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var v value
	defer v.close()
	for _, size := range []int{0, 5, spoolAbove + 1, 7, spoolAbove, spoolAbove * 2, spoolAbove + 3, 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if err := v.reset(); err != nil {
				t.Fatal(err)
			}
			content := make([]byte, size)
			for i := range content {
				content[i] = byte(rng.Uint32())
			}
			for rest := content; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(300_000))
				if _, err := v.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if cap(v.buf) > 2*spoolAbove {
				t.Errorf("%d bytes are kept in memory", cap(v.buf))
			}
			for _, r := range []rdb.Record{
				{Key: []byte("k\r\n"), Type: 4},
				{Key: []byte("k"), Type: 0, HasExpiry: true, ExpireAt: 12345, HasIdle: true, IdleSeconds: 9},
				{Key: []byte("k"), Type: 18, HasFreq: true, Freq: 7},
			} {
				want := []any{"RESTORE", r.Key, r.ExpireAt, rdb.DumpPayload(nil, r.Type, content, 10), "ABSTTL"}
				if r.HasIdle {
					want = append(want, "IDLETIME", r.IdleSeconds)
				}
				if r.HasFreq {
					want = append(want, "FREQ", int(r.Freq))
				}
				var got bytes.Buffer
				w := bufio.NewWriterSize(&got, 4096)
				if err := v.writeRestore(w, &r, 10); err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), cluster.AppendCommand(nil, want...)) {
					t.Errorf("type %d: another command than made whole", r.Type)
				}
			}
		})
	}
}
