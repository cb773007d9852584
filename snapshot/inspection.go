package snapshot

import (
	"context"
	"errors"
	"io"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/collect"
)

// inspection is a dump on its way to the sealer and the stores: whoever reads it gets the
// dump's bytes while the same bytes are inspected beside. It gives io.EOF only
// after the inspection found the whole dump sound, and the damage otherwise, so
// that a store never completes an object that is not sound.
type inspection struct {
	source  *collect.Source
	tee     *io.PipeWriter
	verdict func(*rdb.Report) error

	done   chan struct{} // closed when report and damage are set
	report *rdb.Report
	damage error

	failure error // what Read returned instead of io.EOF
}

func newInspection(ctx context.Context, source *collect.Source, owned slot.Set, onProgress func(int64, uint64)) *inspection {
	reader, writer := io.Pipe()
	i := &inspection{source: source, tee: writer, done: make(chan struct{})}
	go func() {
		defer close(i.done)
		// Digests are for the slot index. Names that come twice are left to a
		// verification: finding them takes memory for each shard at once.
		i.report, i.damage = rdb.Inspect(ctx, reader, rdb.InspectOptions{
			Size: source.Size, Owned: &owned, Digest: true, OnProgress: onProgress,
		})
		// A reader that has seen enough must not hold the writer up.
		reader.CloseWithError(errors.Join(i.damage, io.ErrClosedPipe))
	}()
	return i
}

func (i *inspection) Read(p []byte) (int, error) {
	n, err := i.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		i.failure = err
		return 0, err
	}
	return n, err
}

func (i *inspection) read(p []byte) (int, error) {
	n, err := i.gather(p)
	if n > 0 {
		if _, teeErr := i.tee.Write(p[:n]); teeErr != nil {
			return 0, i.conclude()
		}
	}
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		i.tee.CloseWithError(err)
		<-i.done
		return 0, err
	}
	i.tee.Close()
	if err := i.conclude(); err != nil {
		return 0, err
	}
	return n, io.EOF
}

// gather fills p. A connection, or a file that grows, gives a little at a time,
// and each piece that is handed on wakes whoever inspects and seals.
func (i *inspection) gather(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = i.source.Read(p[n:])
		n += more
	}
	return n, err
}

// conclude waits for the inspection and returns what it came to.
func (i *inspection) conclude() error {
	<-i.done
	var damage *rdb.Damage
	if errors.As(i.damage, &damage) {
		return hint.Add(damage, "the dump is damaged, or was on its way: take the snapshot again; if it stays so, look at the node's disk and memory, and at slotark verify of its dump.rdb")
	}
	if i.damage != nil {
		return i.damage
	}
	return i.verdict(i.report)
}

// Close ends the inspection, wherever it is, and closes the source. It returns
// why the dump did not reach its end, where it is the dump that did not.
func (i *inspection) Close() error {
	i.tee.CloseWithError(context.Canceled)
	<-i.done
	err := i.source.Close()
	if i.failure != nil {
		return i.failure
	}
	return err
}
