package rdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrPayload is returned for what is not as DUMP makes it.
var ErrPayload = errors.New("the payload of a value is damaged")

// payloadTail is what stands behind a value in a payload: the format's version in
// two bytes and the CRC64 in eight.
const payloadTail = 10

// DumpPayload appends what RESTORE expects for a value: its type, its bytes as
// [Options.Capture] got them, the format version in two bytes and the CRC64 of
// all that in eight, both little-endian (cluster.c, createDumpPayload).
func DumpPayload(dst []byte, typ byte, value []byte, rdbVersion int) []byte {
	start := len(dst)
	dst = append(dst, typ)
	dst = append(dst, value...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(rdbVersion))
	return binary.LittleEndian.AppendUint64(dst, UpdateCRC64(0, dst[start:]))
}

// Payloads checks and digests values as DUMP gives them. It is for one goroutine.
type Payloads struct {
	reader Reader
	in     input
}

// NewPayloads returns a Payloads.
func NewPayloads() *Payloads {
	p := &Payloads{reader: Reader{rec: new(Record)}}
	p.in.src = nothing{}
	p.reader.in = &p.in
	p.reader.digester = newDigester(&p.reader, true)
	return p
}

// Digest fills in what a payload says of a key of which the record has all that
// DUMP does not tell: name, database, expiry. Afterwards it has its type and its
// digest, too, as a dump's would. What is wrong is an [ErrPayload], or with the
// value a *Damage, whose offset is within the payload.
func (p *Payloads) Digest(rec *Record, payload []byte) error {
	end := len(payload) - payloadTail
	if end < 2 {
		return fmt.Errorf("%w: %d bytes hold no value", ErrPayload, len(payload))
	}
	tail := payload[end:]
	header := Header{Engine: "redis", Version: int(binary.LittleEndian.Uint16(tail))}
	if header.Version >= minValkeyVersion {
		header.Engine = "valkey"
	}
	if stored, computed := binary.LittleEndian.Uint64(tail[2:]), UpdateCRC64(0, payload[:end+2]); stored != 0 && stored != computed {
		return fmt.Errorf("%w: it says CRC64 %016x, its bytes give %016x", ErrPayload, stored, computed)
	}
	rec.Kind, rec.Type = KindKey, payload[0]
	if rec.Family = header.familyOf(rec.Type); rec.Family == None {
		p.reader.header = header
		return p.reader.unknownType(rec.Type, 0)
	}
	p.reader.header = header
	p.in.buf, p.in.pos, p.in.end, p.in.hashed = payload[:end:end], 1, end, 1
	p.in.base, p.in.size, p.in.ended = 0, int64(end), false
	d := p.reader.digester
	d.in, d.unchecked = &p.in, false
	var err error
	rec.Digest, err = d.value(rec)
	switch {
	case errors.Is(err, errCut):
		return fmt.Errorf("%w: the value does not end within it", ErrPayload)
	case err != nil:
		return err
	case p.in.pos != end:
		return fmt.Errorf("%w: the value ends before it does, by %d bytes", ErrPayload, end-p.in.pos)
	}
	return nil
}

// Libraries reads what FUNCTION DUMP gives: the code of each library. It is what a
// dump holds of them, in records of their own, and then as much as stands behind
// any payload (functions.c, functionDumpCommand).
func Libraries(payload []byte) ([][]byte, error) {
	end := len(payload) - payloadTail
	if end < 0 {
		return nil, fmt.Errorf("%w: %d bytes hold no libraries", ErrPayload, len(payload))
	}
	tail := payload[end:]
	if stored, computed := binary.LittleEndian.Uint64(tail[2:]), UpdateCRC64(0, payload[:end+2]); stored != 0 && stored != computed {
		return nil, fmt.Errorf("%w: it says CRC64 %016x, its bytes give %016x", ErrPayload, stored, computed)
	}
	header := Header{Engine: "redis", Version: int(binary.LittleEndian.Uint16(tail))}
	if header.Version >= minValkeyVersion {
		header.Engine = "valkey"
	}
	dump := append([]byte(header.magic()), payload[:end]...)
	dump = append(append(dump, opEOF), make([]byte, 8)...) // its own sum is proved
	var code [][]byte
	for r := NewReader(bytes.NewReader(dump), Options{Size: int64(len(dump))}); ; {
		rec, err := r.Next()
		switch {
		case err == io.EOF:
			return code, nil
		case err != nil:
			return nil, err
		case rec.Kind == KindFunction:
			code = append(code, bytes.Clone(rec.Value))
		}
	}
}
