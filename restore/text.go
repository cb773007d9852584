package restore

import (
	"fmt"
	"strconv"
	"strings"
)

// maxKeyBytes is how much of a key an error shows.
const maxKeyBytes = 64

// quoteKey writes a key, which may hold any byte, for a person.
func quoteKey(key []byte) string {
	if len(key) > maxKeyBytes {
		return strconv.Quote(string(key[:maxKeyBytes])) + "…"
	}
	return strconv.Quote(string(key))
}

// group writes a number with a comma between thousands: 670,198.
func group(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// count reads "1 key", "670,198 keys".
func count(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

// size writes bytes as a person reads them: "402.0 MB".
func size(bytes int64) string {
	value, units := float64(bytes), []string{"B", "kB", "MB", "GB", "TB"}
	unit := 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// list reads "a", "a and b", "a, b and c".
func list(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
