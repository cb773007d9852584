package config

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/slotark/slotark/restore/drill/probe"
)

// LoadProbes reads and checks a file of probes. An error that is about what the
// file says is an *[Invalid].
func LoadProbes(path string) ([]probe.Probe, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the probes: %w", err)
	}
	var file probe.File
	d := &decoder{file: filepath.Base(path), lines: map[string]int{}}
	d.document(text, &file)
	broken := len(d.problems)
	for _, p := range file.Problems() {
		if !d.alreadyTold(p.Path, broken) {
			d.report(d.lineOf(p.Path), p.Path, "%s", p.Text)
		}
	}
	return file.Probes, d.verdict()
}
