package restore

import "strconv"

// maxKeyBytes is how much of a key an error shows.
const maxKeyBytes = 64

// quoteKey writes a key, which may hold any byte, for a person.
func quoteKey(key []byte) string {
	if len(key) > maxKeyBytes {
		return strconv.Quote(string(key[:maxKeyBytes])) + "…"
	}
	return strconv.Quote(string(key))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
