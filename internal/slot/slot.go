package slot

// Count is the number of hash slots of a cluster: CLUSTER_SLOTS in cluster.h.
const Count = 16384

// Of returns the slot of a key: CRC16 of the key, or of its hash tag where it
// has one, modulo 16384. A hash tag is what stands between the first '{' and
// the first '}' after it, if it is not empty.
func Of(key []byte) int {
	return int(crc16(hashTag(key)) & (Count - 1))
}

func hashTag(key []byte) []byte {
	for open, b := range key {
		if b != '{' {
			continue
		}
		for end := open + 1; end < len(key); end++ {
			if key[end] == '}' {
				if end == open+1 {
					return key
				}
				return key[open+1 : end]
			}
		}
		return key
	}
	return key
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, initial value 0, no reflection.
func crc16(data []byte) uint16 {
	var crc uint16
	for _, b := range data {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^b]
	}
	return crc
}

var crc16Table = buildCRC16Table()

func buildCRC16Table() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}
