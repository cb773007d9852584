package seal

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frame is one on its way: its bytes are the plain ones and then what became of them, or
// the other way round.
type frame struct {
	bytes []byte
	plain int // how many plain bytes it holds
	err   error
	done  chan struct{} // gets a value when the bytes are the other ones, or err is set
}

func newFrame() *frame { return &frame{done: make(chan struct{}, 1)} }

// compress makes compressed bytes of the plain ones, and takes no other buffer for longer
// than that.
func (f *frame) compress(encoder *zstd.Encoder) {
	before := f.bytes
	f.plain = len(before)
	f.bytes = encoder.EncodeAll(before, withRoom(takeBuffer(), len(before)))
	giveBuffer(before)
}

// openedSlack is what the decoder likes to have behind the bytes that it opens.
const openedSlack = 64

// decoder opens single frames. It is safe for concurrent use, and lets as many be
// opened at once as there are processors.
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxWindow(MaxWindow),
		zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
})

// decompress makes plain bytes of the compressed ones: as many as its header says.
func (f *frame) decompress() {
	d, err := decoder()
	if err != nil {
		f.err = err
		return
	}
	before := f.bytes
	f.bytes, f.err = d.DecodeAll(before, withRoom(takeBuffer(), f.plain+openedSlack))
	giveBuffer(before)
	if f.err == nil && len(f.bytes) != f.plain {
		f.err = fmt.Errorf("a frame holds %d bytes, and its header says %d", len(f.bytes), f.plain)
	}
}

// buffers are those that nobody uses, of all objects.
var buffers sync.Pool

// takeBuffer returns a buffer of no bytes. A new one is nil: most objects are small.
func takeBuffer() []byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func giveBuffer(b []byte) { buffers.Put(&b) }

// withRoom returns the buffer, or another of no bytes, which has room for so many. What
// has room for many has it for every frame.
func withRoom(b []byte, bytes int) []byte {
	switch {
	case cap(b) >= bytes:
		return b
	case bytes > mostCompressed/16:
		bytes = mostCompressed + openedSlack
	}
	return make([]byte, 0, bytes)
}
