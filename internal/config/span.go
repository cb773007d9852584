package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a duration that may be given in days and weeks: how long something
// is kept. A day is 24 hours.
type Span time.Duration

// Duration is the same as a time.Duration.
func (s Span) Duration() time.Duration { return time.Duration(s) }

// maxSpan is a hundred years: more is a mistake, and not far from more than a
// time.Duration holds.
const maxSpan = 100 * 365 * 24 * time.Hour

var spanUnits = map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

// ParseSpan reads "36h", "30d" or "8w".
func ParseSpan(text string) (Span, error) {
	wrong := fmt.Errorf("%q is not a time span: want a number with a unit, such as 36h, 30d or 8w", text)
	if text == "" {
		return 0, wrong
	}
	unit, days := spanUnits[text[len(text)-1]]
	if !days {
		span, err := time.ParseDuration(text)
		if err != nil || span < 0 || span > maxSpan {
			return 0, wrong
		}
		return Span(span), nil
	}
	number, err := strconv.Atoi(strings.TrimSpace(text[:len(text)-1]))
	if err != nil || number < 0 || number > int(maxSpan/unit) {
		return 0, wrong
	}
	return Span(time.Duration(number) * unit), nil
}

// Set reads a flag's value.
func (s *Span) Set(text string) (err error) {
	*s, err = ParseSpan(text)
	return err
}

// String is the span as it is given: in days, if it is whole ones.
func (s Span) String() string {
	if d := s.Duration(); d > 0 && d%spanUnits['d'] == 0 {
		return strconv.Itoa(int(d/spanUnits['d'])) + "d"
	}
	return s.Duration().String()
}

// Type names the value in a flag's help.
func (s *Span) Type() string { return "span" }
