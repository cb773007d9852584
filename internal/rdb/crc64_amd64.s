#include "textflag.h"

// FOLD moves block over the distance that keys stand for and adds it to onto.
// block is lost, and so is X9.
#define FOLD(block, keys, onto) \
	MOVO block, X9 \
	PCLMULQDQ $0x00, keys, block \
	PCLMULQDQ $0x11, keys, X9 \
	PXOR block, onto \
	PXOR X9, onto

// func foldCRC64(crc uint64, p []byte) (first, second uint64)
TEXT ·foldCRC64(SB), NOSPLIT, $0-48
	MOVQ p_base+8(FP), SI
	MOVQ p_len+16(FP), CX
	MOVOU ·foldKeys+0(SB), X14
	MOVOU ·foldKeys+16(SB), X15
	MOVQ crc+0(FP), X0
	MOVOU 0(SI), X1
	MOVOU 16(SI), X2
	MOVOU 32(SI), X3
	MOVOU 48(SI), X4
	PXOR X0, X1

next:
	ADDQ $64, SI
	SUBQ $64, CX
	JLE  last
	MOVOU 0(SI), X5
	MOVOU 16(SI), X6
	MOVOU 32(SI), X7
	MOVOU 48(SI), X8
	FOLD(X1, X14, X5)
	FOLD(X2, X14, X6)
	FOLD(X3, X14, X7)
	FOLD(X4, X14, X8)
	MOVO X5, X1
	MOVO X6, X2
	MOVO X7, X3
	MOVO X8, X4
	JMP  next

last:
	FOLD(X1, X15, X2)
	FOLD(X2, X15, X3)
	FOLD(X3, X15, X4)
	MOVQ X4, first+32(FP)
	PSRLDQ $8, X4
	MOVQ X4, second+40(FP)
	RET
