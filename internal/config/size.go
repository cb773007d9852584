package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

var units = map[string]float64{
	"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}

// ParseSize reads "16MiB", "1.5 GiB", "500MB" or a plain number of bytes.
func ParseSize(text string) (Size, error) {
	number := strings.TrimRight(text, "BKMGTi ")
	unit, known := units[strings.TrimSpace(text[len(number):])]
	if number == text {
		unit, known = 1, true
	}
	value, err := strconv.ParseFloat(number, 64)
	if !known || err != nil || value < 0 || value*unit >= math.MaxInt64 || math.IsNaN(value) {
		return 0, fmt.Errorf("%q is not a size: want a number with a unit, such as 512KiB, 16MiB or 2GiB", text)
	}
	return Size(value * unit), nil
}
