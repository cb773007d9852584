package slot

import "bytes"

// Count is the number of hash slots of a cluster: CLUSTER_SLOTS in cluster.h.
const Count = 16384

// Of returns the slot of a key: CRC16 of the key, or of its hash tag where it
// has one, modulo 16384. A hash tag is what stands between the first '{' and
// the first '}' after it, if it is not empty.
func Of(key []byte) int {
	return int(crc16(hashTag(key)) & (Count - 1))
}

func hashTag(key []byte) []byte {
	open := bytes.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	// An empty tag, or one that does not end, means no tag.
	if end := bytes.IndexByte(key[open+1:], '}'); end > 0 {
		return key[open+1 : open+1+end]
	}
	return key
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, initial value 0, no reflection. It
// takes eight bytes at a time: the tables say what a byte does that many later.
func crc16(data []byte) uint16 {
	var crc uint16
	for ; len(data) >= 8; data = data[8:] {
		t := &crc16Tables
		crc = t[7][data[0]^byte(crc>>8)] ^ t[6][data[1]^byte(crc)] ^ t[5][data[2]] ^ t[4][data[3]] ^
			t[3][data[4]] ^ t[2][data[5]] ^ t[1][data[6]] ^ t[0][data[7]]
	}
	for _, b := range data {
		crc = crc<<8 ^ crc16Tables[0][byte(crc>>8)^b]
	}
	return crc
}

var crc16Tables = buildCRC16Tables()

func buildCRC16Tables() (tables [8][256]uint16) {
	for i := range tables[0] {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		tables[0][i] = crc
	}
	for k := 1; k < len(tables); k++ {
		for i, crc := range tables[k-1] {
			tables[k][i] = crc<<8 ^ tables[0][byte(crc>>8)]
		}
	}
	return tables
}
