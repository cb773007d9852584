package aof

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/iotest"
)

// What a capture gets of each record is the record, byte for byte, however large
// and in whatever pieces the file comes.
func TestCapture(t *testing.T) {
	var text []byte
	bulk := func(p []byte) {
		text = append(text, '$')
		text = strconv.AppendInt(text, int64(len(p)), 10)
		text = append(append(append(text, "\r\n"...), p...), "\r\n"...)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		if i%50 == 0 {
			text = append(text, "#TS:1700000000\r\n"...)
		}
		text = append(text, "*3\r\n"...)
		size := random.IntN(200)
		if i%100 == 7 {
			size = 3*bufferSize + random.IntN(1000)
		}
		bulk([]byte("SET"))
		bulk([]byte(strconv.Itoa(i)))
		bulk(bytes.Repeat([]byte{byte(i)}, size))
	}
	for name, src := range map[string]io.Reader{"whole": bytes.NewReader(text), "halves": iotest.HalfReader(bytes.NewReader(text))} {
		var got bytes.Buffer
		r := NewReader(src, Options{KeepArgs: 2, Capture: &got})
		at := int64(0)
		for {
			got.Reset()
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if rec.Offset != at || !bytes.Equal(got.Bytes(), text[at:at+rec.Length]) {
				t.Fatalf("%s: the record at byte %d came as %d other bytes", name, at, got.Len())
			}
			at += rec.Length
		}
		if at != int64(len(text)) {
			t.Errorf("%s: %d bytes of %d", name, at, len(text))
		}
	}
	broken := errors.New("the disk is full")
	if _, err := NewReader(bytes.NewReader(text), Options{Capture: failing{broken}}).Next(); !errors.Is(err, broken) {
		t.Errorf("a capture that fails: %v", err)
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }
