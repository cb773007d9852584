package rdb

// lzfWindow is how far back an LZF reference can reach.
const lzfWindow = 8 << 10

// lzfChunk is how much is unpacked before it is handed on.
const lzfChunk = 64 << 10

// eachLZF unpacks a compressed string of any size in bounded memory and hands
// it on in pieces, valid during the call. The caller has read its header.
func (in *input) eachLZF(packed, size uint64, emit func([]byte)) error {
	at := in.offset()
	if err := in.fits(packed); err != nil {
		return err
	}
	window := make([]byte, 0, lzfWindow+lzfChunk+264)
	fresh := 0 // window[fresh:] is not handed on yet
	left := size
	for end := at + int64(packed); in.offset() < end; {
		var err error
		before := len(window)
		window, err = in.lzfStep(window, left, uint64(end-in.offset()))
		if err != nil {
			return err
		}
		left -= uint64(len(window) - before)
		if len(window) >= lzfWindow+lzfChunk {
			emit(window[fresh:])
			// What references may still reach moves to the front.
			fresh = copy(window, window[len(window)-lzfWindow:])
			window = window[:fresh]
		}
	}
	emit(window[fresh:])
	if left != 0 {
		return damage(CodeLZF, at, "a string of %d bytes compressed to %d: %v", size, packed, errLZFLess)
	}
	return nil
}

// lzfStep is lzfAppend's loop body over bytes that arrive piece by piece. It
// unpacks one run or reference onto window; room is what the string
// may still hold, packed what its compressed bytes may still give.
func (in *input) lzfStep(window []byte, room, packed uint64) ([]byte, error) {
	at := in.offset()
	fail := func(err error) ([]byte, error) {
		return window, damage(CodeLZF, at, "a compressed string is broken: %v", err)
	}
	control, err := in.byte()
	if err != nil {
		return window, err
	}
	packed--
	if control < 32 {
		n := uint64(control) + 1
		if n > packed {
			return fail(errLZFShort)
		}
		if n > room {
			return fail(errLZFLong)
		}
		return in.appendBytes(window, n)
	}
	n := uint64(control>>5) + 2
	extra := 1
	if n == 9 {
		extra = 2
	}
	if packed < uint64(extra) {
		return fail(errLZFShort)
	}
	raw, err := in.fixed(extra)
	if err != nil {
		return window, err
	}
	if extra == 2 {
		n += uint64(raw[0])
	}
	from := len(window) - (int(control&31)<<8 | int(raw[extra-1])) - 1
	if from < 0 {
		return fail(errLZFRef)
	}
	if n > room {
		return fail(errLZFLong)
	}
	for range n {
		window = append(window, window[from])
		from++
	}
	return window, nil
}
