package catalog

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Seconds is a duration that JSON writes as seconds with three decimals: a
// number that needs no unit to be understood, whatever reads it.
type Seconds time.Duration

// Duration is the same as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// MarshalJSON writes 9.4 s as 9.400.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', 3, 64), nil
}

// UnmarshalJSON reads a number of seconds.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return fmt.Errorf("decode seconds: %w", err)
	}
	// Cut instead of rounded, 1.001 would be read as 1.000999999.
	*s = Seconds(math.Round(seconds * float64(time.Second)))
	return nil
}
