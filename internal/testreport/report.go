package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of `go test -json`, described by `go doc test2json` and,
// for builds, by `go help buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string  // of a package's fail: the ImportPath whose build failed
}

// report gathers the events of one run.
type report struct {
	out      io.Writer
	packages map[string]*pkg
	builds   map[string]*strings.Builder // output of the compiler, by import path
	failures []string                    // "package Test", in the order they came
	counts
	failedBefore []string // checks beside `go test`
}

type counts struct{ passed, failed, skipped int }

// pkg is one package under test, until it ends.
type pkg struct {
	name   string
	order  []string // its tests, in the order they began
	tests  map[string]*test
	output strings.Builder // what no test wrote
}

type test struct {
	result string // "pass", "fail" or "skip"; empty while it runs
	parent bool   // it has subtests
	output strings.Builder
}

func newReport(out io.Writer) *report {
	return &report{out: out, packages: map[string]*pkg{}, builds: map[string]*strings.Builder{}}
}

// read takes events until the stream ends. A line that is no event is passed
// on as it is: it is somebody's message.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(r.out, "%s\n", strings.TrimSuffix(string(line), "\n"))
			} else {
				r.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the events of go test: %w", err)
		}
	}
}

func (r *report) take(e event) {
	if e.Package == "" {
		if e.Action == "build-output" {
			r.build(e.ImportPath).WriteString(e.Output)
		}
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &pkg{name: e.Package, tests: map[string]*test{}}
		r.packages[e.Package] = p
	}
	if e.Test != "" {
		p.take(e)
		return
	}
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		r.endPackage(p, e)
	}
}

func (r *report) build(importPath string) *strings.Builder {
	if r.builds[importPath] == nil {
		r.builds[importPath] = &strings.Builder{}
	}
	return r.builds[importPath]
}

func (p *pkg) take(e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &test{}
		p.tests[e.Test] = t
		p.order = append(p.order, e.Test)
		for i, c := range e.Test { // "A/b/c" makes parents of "A" and "A/b"
			if parent := p.tests[e.Test[:i]]; c == '/' && parent != nil {
				parent.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "pass", "fail", "skip":
		t.result = e.Action
		if e.Action == "pass" {
			t.output.Reset() // nobody will read it
		}
	}
}

// endPackage prints what came of a package and forgets it.
func (r *report) endPackage(p *pkg, e event) {
	delete(r.packages, p.name)
	c, failed, skipped := p.count()
	crashed := e.Action == "fail" && len(failed) == 0
	if crashed {
		c.failed++
	}
	r.passed, r.failed, r.skipped = r.passed+c.passed, r.failed+c.failed, r.skipped+c.skipped

	state := "ok  "
	switch {
	case c.failed > 0:
		state = "FAIL"
	case len(p.tests) == 0:
		state = "-   "
	}
	fmt.Fprintf(r.out, "%s  %-52s %7.2f s  %s\n", state, p.name, e.Elapsed, c)
	for _, name := range skipped {
		fmt.Fprintf(r.out, "      skipped: %s\n%s", name, indent(p.tests[name].output.String()))
	}
	if c.failed == 0 {
		return
	}
	if b := r.builds[e.FailedBuild]; b != nil {
		io.WriteString(r.out, indent(b.String()))
	}
	for _, name := range failed {
		io.WriteString(r.out, indent(p.tests[name].output.String()))
		r.failures = append(r.failures, p.name+" "+name)
	}
	io.WriteString(r.out, indent(p.output.String()))
	if crashed {
		r.failures = append(r.failures, p.name)
	}
}

// count sums up a package. A test that never ended was running when the
// package went down: it failed. A parent counts only where it failed and none
// of its subtests did.
func (p *pkg) count() (c counts, failed, skipped []string) {
	for _, name := range p.order {
		t := p.tests[name]
		if t.result == "" {
			t.result = "fail"
		}
		switch {
		case t.result == "fail":
			failed = append(failed, name)
			if !t.parent || !p.failedBelow(name) {
				c.failed++
			}
		case t.result == "skip":
			skipped = append(skipped, name)
			c.skipped++
		case !t.parent:
			c.passed++
		}
	}
	return c, failed, skipped
}

func (p *pkg) failedBelow(name string) bool {
	return slices.ContainsFunc(p.order, func(other string) bool {
		result := p.tests[other].result
		return strings.HasPrefix(other, name+"/") && (result == "fail" || result == "")
	})
}

// close prints the summary and tells whether all is well.
func (r *report) close(exit error, skipIsFailure bool) bool {
	for _, name := range sortedKeys(r.packages) { // go test itself went down
		r.endPackage(r.packages[name], event{Action: "fail"})
	}
	ok := exit == nil && r.failed == 0
	if exit != nil && r.failed == 0 {
		for _, name := range sortedKeys(r.builds) {
			io.WriteString(r.out, indent(r.builds[name].String()))
		}
		r.failures = append(r.failures, fmt.Sprintf("go test itself: %v", exit))
		r.failed++
	}
	if len(r.failedBefore) > 0 {
		ok = false
		r.failures = append(r.failures, r.failedBefore...)
		r.failed += len(r.failedBefore)
	}
	if skipIsFailure && r.skipped > 0 {
		ok = false
		fmt.Fprintf(r.out, "\nCI=true: a skipped test fails the run\n")
	}
	if len(r.failures) > 0 {
		fmt.Fprintf(r.out, "\nfailed:\n")
		for _, name := range r.failures {
			fmt.Fprintf(r.out, "  %s\n", name)
		}
	}
	fmt.Fprintf(r.out, "\n%s\n", r.counts)
	return ok
}

// String is the closing line. Programs read it: it does not change.
func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// indent sets output apart from the report's own lines, less what the report
// says already.
func indent(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if line == "FAIL" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "FAIL\t") {
			continue
		}
		b.WriteString("      " + line + "\n")
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
