package catalog_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
)

// Every millisecond comes back as it was: cut instead of rounded, 1.001 s
// came back as 1.000999999 s.
func TestSecondsRoundTrip(t *testing.T) {
	for ms := range 20000 {
		want := catalog.Seconds(time.Duration(ms) * time.Millisecond)
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got catalog.Seconds
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Fatalf("%s came back as %s, %v", want.Duration(), got.Duration(), err)
		}
	}
}

func TestSecondsText(t *testing.T) {
	if text, err := json.Marshal(catalog.Seconds(9400 * time.Millisecond)); err != nil || string(text) != "9.400" {
		t.Errorf("got %s, %v", text, err)
	}
	var s catalog.Seconds
	if err := json.Unmarshal([]byte(`"9.4s"`), &s); err == nil {
		t.Errorf("text was read as %s", s.Duration())
	}
}
