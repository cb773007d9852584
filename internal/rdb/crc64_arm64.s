#include "textflag.h"

// FOLD moves block over the distance that keys stand for and adds it to onto.
// block is lost, and so is V9.
#define FOLD(block, keys, onto) \
	VPMULL keys.D1, block.D1, V9.Q1 \
	VPMULL2 keys.D2, block.D2, block.Q1 \
	VEOR V9.B16, onto.B16, onto.B16 \
	VEOR block.B16, onto.B16, onto.B16

// func foldCRC64(crc uint64, p []byte) (first, second uint64)
TEXT ·foldCRC64(SB), NOSPLIT, $0-48
	MOVD crc+0(FP), R0
	MOVD p_base+8(FP), R1
	MOVD p_len+16(FP), R2
	MOVD $·foldKeys(SB), R3
	VLD1 (R3), [V14.D2, V15.D2]
	VEOR V0.B16, V0.B16, V0.B16
	VMOV R0, V0.D[0]
	VLD1.P 64(R1), [V1.B16, V2.B16, V3.B16, V4.B16]
	VEOR V0.B16, V1.B16, V1.B16

next:
	SUBS $64, R2
	BLE  last
	VLD1.P 64(R1), [V5.B16, V6.B16, V7.B16, V8.B16]
	FOLD(V1, V14, V5)
	FOLD(V2, V14, V6)
	FOLD(V3, V14, V7)
	FOLD(V4, V14, V8)
	VMOV V5.B16, V1.B16
	VMOV V6.B16, V2.B16
	VMOV V7.B16, V3.B16
	VMOV V8.B16, V4.B16
	B    next

last:
	FOLD(V1, V15, V2)
	FOLD(V2, V15, V3)
	FOLD(V3, V15, V4)
	VMOV V4.D[0], R0
	VMOV V4.D[1], R1
	MOVD R0, first+32(FP)
	MOVD R1, second+40(FP)
	RET
