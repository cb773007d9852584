package s3

import "testing"

// Ten thousand parts must hold 5 TiB, each within S3's 5 GiB, and objects of
// the usual sizes must not pay for that with memory.
func TestPartBytes(t *testing.T) {
	const gib, tib = int64(1) << 30, int64(1) << 40
	total := int64(0)
	var at16, at300 int64
	for number := int32(1); number <= maxParts; number++ {
		size := partBytes(number)
		if size < 5*mib || size > 5*gib {
			t.Fatalf("part %d has %d bytes", number, size)
		}
		if total < 15*gib {
			at16 = size
		}
		if total < 300*gib {
			at300 = size
		}
		total += size
	}
	if total < 5*tib {
		t.Errorf("%d parts hold %d bytes", maxParts, total)
	}
	if at16 > 8*mib || at300 > 128*mib {
		t.Errorf("parts of %d bytes at 16 GiB, %d at 300 GiB", at16, at300)
	}
}
