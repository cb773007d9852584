package part

// matches tells whether a key matches a pattern as KEYS and SCAN take it:
// stringmatchlen in util.c of Redis. "*" is any bytes, "?" one, "[a-c]" one of
// some and "[^a-c]" one of the others; "\" takes the next byte as it is. A set
// that does not end takes the rest of the pattern, and a range that stands the
// wrong way round is turned.
//
// It goes back to the last "*" alone, so it takes at most the product of both
// lengths, where the server's own tries all of them.
func matches(pattern, key []byte) bool {
	p, k := 0, 0
	star, from := -1, 0 // behind the last "*", and what it is to be tried from next
	for {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			p++
			star, from = p, k
			continue
		case k == len(key):
			return p == len(pattern)
		case p < len(pattern):
			if width, ok := matchOne(pattern[p:], key[k]); ok {
				p += width
				k++
				continue
			}
		}
		if star < 0 || from >= len(key) {
			return false
		}
		from++
		p, k = star, from
	}
}

// matchOne tells whether one byte matches what a pattern begins with, and how
// long that is.
func matchOne(pattern []byte, b byte) (width int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		return matchSet(pattern, b)
	case '\\':
		if len(pattern) >= 2 {
			return 2, pattern[1] == b
		}
	}
	return 1, pattern[0] == b
}

// matchSet is matchOne for a set in brackets.
func matchSet(pattern []byte, b byte) (width int, ok bool) {
	at := 1
	negated := at < len(pattern) && pattern[at] == '^'
	if negated {
		at++
	}
	found := false
	for ; at < len(pattern) && pattern[at] != ']'; at++ {
		switch {
		case pattern[at] == '\\' && at+1 < len(pattern):
			at++
			found = found || pattern[at] == b
		case at+2 < len(pattern) && pattern[at+1] == '-':
			low, high := min(pattern[at], pattern[at+2]), max(pattern[at], pattern[at+2])
			found = found || low <= b && b <= high
			at += 2
		default:
			found = found || pattern[at] == b
		}
	}
	return min(at+1, len(pattern)), found != negated
}
