package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/snapshot/catalog"
)

// What phases waited for is told of those that read the dumps, and of others where it
// counts.
func TestPhaseLine(t *testing.T) {
	seconds := func(s float64) catalog.Seconds { return catalog.Seconds(s * float64(time.Second)) }
	phases := []drill.Phase{
		{Name: "check", Elapsed: seconds(0.9), Fetch: seconds(0.01)},
		{Name: "load", Elapsed: seconds(30), Fetch: seconds(1.5), Unseal: seconds(0.4)},
		{Name: "functions", Elapsed: seconds(0.0001)},
		{Name: "compare", Elapsed: seconds(2), Fetch: seconds(0.2)},
	}
	want := "check 900 ms, load 30.0 s (fetch 1.5 s, unseal 400 ms), functions 0 ms, compare 2.0 s (fetch 200 ms, unseal 0 ms)"
	if got := phaseLine(phases); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	var report bytes.Buffer
	writeDrillReport(&report, &drill.Report{Phases: phases})
	want = "| load | 30.0 s |\n| of it fetch: waiting for the store | 1.5 s |\n| of it unseal: decrypting and decompressing | 400 ms |\n| functions | 0 ms |\n"
	if !strings.Contains(report.String(), want) {
		t.Errorf("want\n%s\nin\n%s", want, &report)
	}
}
