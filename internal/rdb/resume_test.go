package rdb

import (
	"io"
	"maps"
	"reflect"
)

// Checkpoint is all that a reader knows between two records of a dump.
type Checkpoint struct {
	Offset int64 // bytes consumed
	CRC64  uint64
	state  readerState
}

type readerState struct {
	Header    Header
	Begun     bool
	DB        int
	Slots     slotSection
	Templates map[uint64]uint64
	Names     map[uint64]hashTemplate // of a digester
}

// Checkpoint tells what the reader knows. It is for a reader between records.
func (r *Reader) Checkpoint() Checkpoint {
	sum, err := r.in.checksum()
	if err != nil {
		panic(err) // impossible: nothing is captured
	}
	state := readerState{Header: r.header, Begun: r.begun, DB: r.db, Slots: r.slots, Templates: maps.Clone(r.templates)}
	if r.digester != nil {
		state.Names = maps.Clone(r.digester.templates.byID)
	}
	return Checkpoint{r.in.offset(), sum, state}
}

// Resume brings the reader to a checkpoint. src gives what follows it, and size
// is that of the dump.
func (r *Reader) Resume(at Checkpoint, src io.Reader, size int64) {
	*r.in = input{src: src, size: size, buf: r.in.buf, base: at.Offset, crc: at.CRC64}
	r.header, r.begun, r.db, r.slots = at.state.Header, at.state.Begun, at.state.DB, at.state.Slots
	r.templates = maps.Clone(at.state.Templates)
	r.err, r.crc, r.unverified = nil, 0, false
	if r.digester != nil {
		r.digester.templates = &hashTemplates{byID: maps.Clone(at.state.Names)}
		r.digester.shared, r.digester.unchecked = 0, false
	}
}

// LeadsTo tells whether a reader that stands here reads the same as one that
// stands there, in all but the checksum.
func (c Checkpoint) LeadsTo(other Checkpoint) bool {
	a, b := c.state, other.state
	return c.Offset == other.Offset && a.Header == b.Header && a.Begun == b.Begun && a.DB == b.DB && a.Slots == b.Slots &&
		maps.Equal(a.Templates, b.Templates) && (len(a.Names)+len(b.Names) == 0 || reflect.DeepEqual(a.Names, b.Names))
}
