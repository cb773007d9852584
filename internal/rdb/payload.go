package rdb

import "encoding/binary"

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
