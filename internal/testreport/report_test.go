package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// suite is a module whose packages end in every way a package can.
var suite = map[string]string{
	"go.mod":           "module suite\n\ngo 1.24\n",
	"none/a.go":        "package none\n",
	"good/a_test.go":   "package good\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) {}); t.Run(\"y\", func(t *testing.T) {}) }\nfunc TestB(t *testing.T) { t.Log(\"quiet\") }\n",
	"bad/a_test.go":    "package bad\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) { t.Error(\"the x is bad\") }); t.Run(\"y\", func(t *testing.T) {}) }\n",
	"parent/a_test.go": "package parent\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) {}); t.Error(\"the parent is bad\") }\n",
	"build/a_test.go":  "package build\nimport \"testing\"\nfunc TestA(t *testing.T) { undefinedThing() }\n",
	"panics/a_test.go": "package panics\nimport \"testing\"\nfunc TestA(t *testing.T) { panic(\"out of the blue\") }\n",
	"main/a_test.go":   "package main\nimport (\"testing\"; \"os\")\nfunc TestMain(m *testing.M) { m.Run(); println(\"unhappy end\"); os.Exit(3) }\nfunc TestA(t *testing.T) {}\n",
	"hang/a_test.go":   "package hang\nimport \"testing\"\nfunc TestA(t *testing.T) { select {} }\n",
	"leave/a_test.go":  "package leave\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Skip(\"nothing to do\") }\nfunc TestB(t *testing.T) {}\n",
}

// runSuite runs `go test` for packages of the suite and returns the report.
func runSuite(t *testing.T, strict bool, failedBefore []string, packages ...string) (string, bool) {
	t.Helper()
	root := t.TempDir()
	for name, text := range suite {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	var out bytes.Buffer
	ok, err := run(&out, strict, failedBefore, append([]string{"-vet=off", "-count=1", "-timeout=3s"}, packages...))
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), ok
}

func TestReport(t *testing.T) {
	cases := map[string]struct {
		packages string
		before   string
		strict   bool
		ok       bool
		last     string
		says     string
	}{
		"all pass":       {packages: "./good ./none", ok: true, last: "3 passed, 0 failed, 0 skipped", says: "ok    suite/good"},
		"all pass in CI": {packages: "./good", strict: true, ok: true, last: "3 passed, 0 failed, 0 skipped"},
		"failed before":  {packages: "./good", before: "fuzz", last: "3 passed, 1 failed, 0 skipped", says: "\n  fuzz\n"},
		"skipped":        {packages: "./leave", ok: true, last: "1 passed, 0 failed, 1 skipped", says: "nothing to do"},
		"skipped in CI":  {packages: "./leave", strict: true, last: "1 passed, 0 failed, 1 skipped", says: "a skipped test fails the run"},
		"a subtest":      {packages: "./bad ./good", last: "4 passed, 1 failed, 0 skipped", says: "the x is bad"},
		"a parent":       {packages: "./parent", last: "1 passed, 1 failed, 0 skipped", says: "the parent is bad"},
		"a build":        {packages: "./build ./good", last: "3 passed, 1 failed, 0 skipped", says: "undefined: undefinedThing"},
		"a panic":        {packages: "./panics", last: "0 passed, 1 failed, 0 skipped", says: "out of the blue"},
		"TestMain":       {packages: "./main", last: "1 passed, 1 failed, 0 skipped", says: "unhappy end"},
		"time limit":     {packages: "./hang", last: "0 passed, 1 failed, 0 skipped", says: "test timed out"},
		"no package":     {packages: "./missing", last: "0 passed, 1 failed, 0 skipped", says: "directory not found"},
		"a wrong flag":   {packages: "-parallel=none ./good", last: "0 passed, 1 failed, 0 skipped", says: "go test itself"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out, ok := runSuite(t, c.strict, strings.Fields(c.before), strings.Fields(c.packages)...)
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if last := lines[len(lines)-1]; ok != c.ok || last != c.last || !strings.Contains(out, c.says) {
				t.Errorf("ok is %v, want %v; the last line is %q, want %q; wanted to see %q in\n%s", ok, c.ok, last, c.last, c.says, out)
			}
			if strings.Contains(out, "quiet") {
				t.Errorf("the output of a passed test is shown:\n%s", out)
			}
		})
	}
}

// Events that stop half-way (go test was killed) count as failures.
func TestReportOfABrokenStream(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	events := `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"half a word\n"}
not an event`
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if r.close(nil, false) {
		t.Error("a run that was cut short is called good")
	}
	for _, want := range []string{"half a word", "not an event", "p TestA", "\n0 passed, 1 failed, 0 skipped\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
