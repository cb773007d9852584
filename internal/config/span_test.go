package config_test

import (
	"testing"
	"time"

	"github.com/slotark/slotark/internal/config"
)

func TestParseSpan(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"36h": 36 * time.Hour, "90m": 90 * time.Minute, "30d": 30 * day, "8w": 56 * day, "0d": 0, "0s": 0, "36500d": 36500 * day,
	} {
		span, err := config.ParseSpan(text)
		if err != nil || span.Duration() != want {
			t.Errorf("%q: %v, %v", text, span.Duration(), err)
		}
		if again, err := config.ParseSpan(span.String()); err != nil || again != span {
			t.Errorf("%q is shown as %q, which is read as %v, %v", text, span, again, err)
		}
	}
	for _, text := range []string{"", "d", "30", "-1d", "-5h", "1.5d", "1y", "36501d", "99999999999999999999d", "2562047h"} {
		if span, err := config.ParseSpan(text); err == nil {
			t.Errorf("%q is read as %s", text, span)
		}
	}
}
