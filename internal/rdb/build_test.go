package rdb_test

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/slotark/slotark/internal/rdb"
)

// builder writes dumps by hand: of versions no server here writes, and broken ones.
type builder struct{ data []byte }

func newDump(version int) *builder       { return &builder{fmt.Appendf(nil, "REDIS%04d", version)} }
func newValkeyDump(version int) *builder { return &builder{fmt.Appendf(nil, "VALKEY%03d", version)} }

func (b *builder) raw(p ...byte) *builder { b.data = append(b.data, p...); return b }

// num writes a length in its shortest form.
func (b *builder) num(n uint64) *builder {
	switch {
	case n < 1<<6:
		return b.raw(byte(n))
	case n < 1<<14:
		return b.raw(0x40|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		b.raw(0x80)
		b.data = binary.BigEndian.AppendUint32(b.data, uint32(n))
		return b
	}
	b.raw(0x81)
	b.data = binary.BigEndian.AppendUint64(b.data, n)
	return b
}

func (b *builder) text(values ...string) *builder {
	for _, s := range values {
		b.num(uint64(len(s))).raw([]byte(s)...)
	}
	return b
}

func (b *builder) u64(n uint64) *builder {
	b.data = binary.LittleEndian.AppendUint64(b.data, n)
	return b
}

func (b *builder) double(f float64) *builder { return b.u64(math.Float64bits(f)) }

// key begins a key; its value follows.
func (b *builder) key(typ byte, name string) *builder { return b.raw(typ).text(name) }

func (b *builder) str(name, value string) *builder { return b.key(0, name).text(value) }

func (b *builder) aux(name, value string) *builder { return b.raw(250).text(name, value) }

func (b *builder) selectDB(db uint64) *builder { return b.raw(254).num(db) }

// done ends the dump with the checksum its version has.
func (b *builder) done() []byte {
	b.raw(255)
	if string(b.data[:5]) == "REDIS" && string(b.data[5:9]) < "0005" {
		return b.data
	}
	return binary.LittleEndian.AppendUint64(b.data, rdb.UpdateCRC64(0, b.data))
}

// unsealed ends the dump with a disabled checksum.
func (b *builder) unsealed() []byte { return b.raw(255).u64(0).data }
