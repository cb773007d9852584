package rdb

import (
	"context"
	"io"
)

// InspectInChunks is [Inspect] with other limits of what a worker gets at a time.
func InspectInChunks(ctx context.Context, src io.Reader, o InspectOptions, bytes, records int) (*Report, error) {
	return inspect(ctx, src, o, chunkLimits{bytes, records})
}

// InspectWithFault is [Inspect] by workers that fall over hash templates: the
// scan knows one with the id 7 and a field.
func InspectWithFault(src io.Reader) error {
	p := newPipeline(src, Options{Digest: true}, chunkLimits{chunkBytes, chunkRecords})
	p.scan.templates = map[uint64]uint64{7: 1}
	p.scan.digester.templates = nil
	p.start(2)
	defer p.close()
	i := &inspection{report: &Report{Aux: map[string]string{}}, ranges: newRangeTracker()}
	return i.run(p)
}
