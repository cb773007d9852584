package aof

import "github.com/slotark/slotark/internal/slot"

// quickCommand reads a command that lies whole in the buffer and is written as
// servers write them, which nearly all are. Of any other it consumes nothing and
// returns false: readCommand then reads it, or says what is wrong with it.
func (r *Reader) quickCommand() bool {
	b := r.in.buf[r.in.pos:r.in.end]
	argc, p := header(b, 0, '*')
	if argc == 0 {
		return false
	}
	size, p := header(b, p, '$')
	if p == 0 || size > maxNameLen || !endsAt(b, p+size) {
		return false
	}
	seen := r.names.find(b[p : p+size])
	c := seen.command
	if c.keys.numkeys > 0 || c.act == actSelect {
		return false
	}
	args := r.rec.Args[:0]
	if r.keep > 0 {
		args = append(args, b[p:p+size:p+size])
	}
	p += size + 2
	firstSlot, differ, cursor := -1, false, c.keys.cursor(int64(argc))
	for i := 1; i < argc; i++ {
		if size, p = header(b, p, '$'); p == 0 || !endsAt(b, p+size) {
			return false
		}
		// Should readCommand have to begin anew, it adds the same keys again.
		if int64(i) == cursor.next {
			n := slot.Of(b[p : p+size])
			r.slots.Add(n)
			if firstSlot < 0 {
				firstSlot = n
			}
			differ = differ || n != firstSlot
			cursor.advance()
		}
		if i < r.keep {
			kept := p + min(size, maxArgKept)
			args = append(args, b[p:kept:kept])
		}
		p += size + 2
	}
	r.in.pos += p
	r.command = c
	r.rec = Record{
		Kind: KindCommand, Name: seen.name[:seen.length], Known: c != unknown, Argc: int64(argc), Args: args,
		DB: r.db, Slot: firstSlot, SlotsDiffer: differ, InTransaction: r.inMulti,
	}
	if c == unknown {
		r.unplaced++
	}
	return true
}

// header reads a line of a mark and up to eight digits that begins at p, and
// returns where the next begins; 0 where it is not such a line, or too near to
// the buffer's end to tell.
func header(b []byte, p int, mark byte) (n, next int) {
	if len(b)-p < maxLine || b[p] != mark {
		return 0, 0
	}
	line := b[p : p+maxLine]
	n = int(line[1] - '0')
	if n > 9 {
		return 0, 0
	}
	i := 2
	for ; i < 9; i++ {
		digit := line[i] - '0'
		if digit > 9 {
			break
		}
		n = n*10 + int(digit)
	}
	if line[i] != '\r' || line[i+1] != '\n' {
		return 0, 0
	}
	return n, p + i + 2
}

// endsAt tells whether an argument's line end stands at p.
func endsAt(b []byte, p int) bool {
	return p+1 < len(b) && b[p] == '\r' && b[p+1] == '\n'
}
