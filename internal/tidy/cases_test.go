package tidy

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// offence is the smallest source that breaks one rule.
type offence struct {
	rule  string
	file  string
	text  string            // the file's text
	extra map[string]string // further files
	noDoc bool              // do not add a good doc.go
}

func lines(n int) string { return strings.Repeat("\n", n) }

const ours = `"` + module + `/`

var offences = map[string]offence{
	"syntax":                      {rule: "parse", file: "verify/a.go", text: "package verify\nfunc {"},
	"unknown package":             {rule: "table", file: "internal/new/a.go", text: "package new"},
	"import upwards":              {rule: "layer", file: "internal/rdb/a.go", text: "package rdb\nimport _ " + ours + `internal/cluster"`},
	"import sideways":             {rule: "layer", file: "storage/fs/a.go", text: "package fs\nimport _ " + ours + `storage/s3"`},
	"snapshot knows verify":       {rule: "boundary", file: "snapshot/a.go", text: "package snapshot\nimport _ " + ours + `verify"`},
	"catalog knows drill":         {rule: "boundary", file: "snapshot/catalog/a.go", text: "package catalog\nimport _ " + ours + `restore/drill"`},
	"storage knows Redis":         {rule: "boundary", file: "storage/s3/a.go", text: "package s3\nimport _ " + ours + `internal/slot"`},
	"scheduler knows backups":     {rule: "boundary", file: "scheduler/a.go", text: "package scheduler\nimport _ " + ours + `snapshot/catalog"`},
	"test package in production":  {rule: "test-only", file: "restore/a.go", text: "package restore\nimport _ " + ours + `internal/clustertest"`},
	"dataset in production":       {rule: "test-only", file: "restore/a.go", text: "package restore\nimport _ " + ours + `internal/dataset"`},
	"dot import":                  {rule: "dot-import", file: "verify/a.go", text: "package verify\nimport . \"fmt\""},
	"unexplained dependency":      {rule: "dependency", file: "verify/a.go", text: "package verify\nimport _ \"example.org/x/y/v2\"", extra: map[string]string{dependenciesDoc: "`example.org/x/z`"}},
	"time.Now":                    {rule: "time", file: "verify/a.go", text: "package verify\nimport \"time\"\nvar t = time.Now()"},
	"time.Now as a value":         {rule: "time", file: "verify/a.go", text: "package verify\nimport \"time\"\nvar now = time.Now"},
	"time.Since renamed":          {rule: "time", file: "verify/a.go", text: "package verify\nimport tm \"time\"\nvar d = tm.Since(start)"},
	"time.Until":                  {rule: "time", file: "verify/a.go", text: "package verify\nimport \"time\"\nvar d = time.Until(end)"},
	"sleep":                       {rule: "sleep", file: "verify/a.go", text: "package verify\nimport \"time\"\nfunc f() { time.Sleep(1) }"},
	"sleep in a test":             {rule: "sleep", file: "verify/a_test.go", text: "package verify\nimport \"time\"\nfunc f() { time.Sleep(1) }"},
	"exit":                        {rule: "exit", file: "cmd/slotark/list.go", text: "package main\nimport \"os\"\nfunc f() { os.Exit(1) }"},
	"exit in a test":              {rule: "exit", file: "verify/a_test.go", text: "package verify\nimport \"os\"\nfunc f() { os.Exit(1) }"},
	"log.Fatal":                   {rule: "log", file: "verify/a.go", text: "package verify\nimport \"log\"\nfunc f() { log.Fatalf(\"x\") }"},
	"log.Print":                   {rule: "log", file: "verify/a.go", text: "package verify\nimport \"log\"\nfunc f() { log.Println(1) }"},
	"fmt.Print":                   {rule: "print", file: "verify/a.go", text: "package verify\nimport \"fmt\"\nfunc f() { fmt.Printf(\"x\") }"},
	"println":                     {rule: "builtin-print", file: "verify/a.go", text: "package verify\nfunc f() { println(1) }"},
	"context.Background":          {rule: "background", file: "verify/a.go", text: "package verify\nimport \"context\"\nvar ctx = context.Background()"},
	"the other one":               {rule: "background", file: "cmd/slotark/list.go", text: "package main\nimport \"context\"\nvar ctx = context.TO" + "DO()"},
	"panic":                       {rule: "panic", file: "verify/a.go", text: "package verify\nfunc f() { panic(1) }"},
	"panic with another comment":  {rule: "panic", file: "verify/a.go", text: "package verify\n// impossible: for f\n\nfunc f() {\n panic(1) // no\n}"},
	"init":                        {rule: "init", file: "verify/a.go", text: "package verify\nfunc init() {}"},
	"nolint":                      {rule: "nolint", file: "verify/a.go", text: "package verify\nvar x = 1 //" + "nolint:all"},
	"os.WriteFile":                {rule: "write", file: "verify/a.go", text: "package verify\nimport \"os\"\nvar err = os.WriteFile(\"x\", nil, 0)"},
	"os.Create":                   {rule: "write", file: "storage/fs/a.go", text: "package fs\nimport \"os\"\nfunc f() { os.Create(\"x\") }"},
	"t.Skip":                      {rule: "skip", file: "verify/a_test.go", text: "package verify\nimport \"testing\"\nfunc TestX(t *testing.T) { t.Skip(1) }"},
	"skip in a test package":      {rule: "skip", file: "internal/s3test/a.go", text: "package s3test\nimport \"testing\"\nfunc F(tb testing.TB) { tb.Skipf(\"x\") }"},
	"skip through a field":        {rule: "skip", file: "verify/a_test.go", text: "package verify\nimport \"testing\"\ntype c struct{ t *testing.T }\nfunc (c c) f() { c.t.SkipNow() }"},
	"work put off":                {rule: "unfinished", file: "verify/a.go", text: "package verify\n// TO" + "DO: later"},
	"work put off in a test":      {rule: "unfinished", file: "verify/a_test.go", text: "package verify\nvar x int // FIX" + "ME"},
	"a mark":                      {rule: "unfinished", file: "verify/a.go", text: "package verify\n/* X" + "XX */"},
	"no doc.go":                   {rule: "doc", file: "verify/a.go", text: "package verify", noDoc: true},
	"doc.go without comment":      {rule: "doc-comment", file: "verify/doc.go", text: "package verify", noDoc: true},
	"doc.go of a program":         {rule: "doc-comment", file: "cmd/slotark/doc.go", text: "// Package main is x.\npackage main", noDoc: true},
	"package name":                {rule: "package-name", file: "verify/a.go", text: "package helpers", extra: map[string]string{"verify/doc.go": "// Package helpers is x.\npackage helpers"}, noDoc: true},
	"long file":                   {rule: "file-size", file: "verify/a.go", text: "package verify" + lines(maxFileLines+1)},
	"long test file":              {rule: "file-size", file: "verify/a_test.go", text: "package verify" + lines(maxTestFileLines+1)},
	"long function":               {rule: "func-size", file: "verify/a.go", text: "package verify\nfunc f() {" + lines(maxFuncLines) + "}"},
	"old word in a function":      {rule: "words", file: "verify/a.go", text: "package verify\nfunc findMaster() {}"},
	"old word in a variable":      {rule: "words", file: "snapshot/a.go", text: "package snapshot\nfunc f() { slave_count := 1; slave_count++ }"},
	"old word in a field, a test": {rule: "words", file: "verify/a_test.go", text: "package verify\ntype x struct{ Slaves int }"},
}

// TestOffences feeds each rule what it is there to find: it must speak once,
// and no other rule with it.
func TestOffences(t *testing.T) {
	for name, o := range offences {
		t.Run(name, func(t *testing.T) {
			got := Check(o.sources())
			if len(got) != 1 || got[0].Rule != o.rule || got[0].File != o.file || got[0].Line < 1 {
				t.Errorf("want one finding of rule %q in %s, got %v", o.rule, o.file, got)
			}
		})
	}
}

func (o offence) sources() map[string]string {
	sources := map[string]string{o.file: o.text}
	maps.Copy(sources, o.extra)
	if !o.noDoc {
		pkg := path.Dir(o.file)
		name, opening := path.Base(pkg), "Package "+path.Base(pkg)
		if strings.HasPrefix(pkg, "cmd/") {
			name, opening = "main", "Command "+path.Base(pkg)
		}
		sources[pkg+"/doc.go"] = "// " + opening + " is x.\npackage " + name
	}
	return sources
}

// TestEveryRuleHasAnOffence reads the names of the rules from this package's
// own source, so that a new rule cannot be forgotten above.
func TestEveryRuleHasAnOffence(t *testing.T) {
	covered := map[string]bool{}
	for _, o := range offences {
		covered[o.rule] = true
	}
	named := regexp.MustCompile(`(?:\.report\([^,]+, |rule: +|Finding\{name, 1, )"([a-z-]+)"`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllStringSubmatch(string(text), -1) {
			rules++
			if !covered[match[1]] {
				t.Errorf("%s: rule %q has no case that makes it speak", name, match[1])
			}
		}
	}
	if rules < 20 {
		t.Errorf("found only %d rules by name: the pattern no longer fits the source", rules)
	}
}

// The same things in the places where they belong.
var allowed = map[string]string{
	"internal/clock/a.go":          "package clock\nimport \"time\"\nvar now = time.Now",
	"verify/a_test.go":             "package verify_test\nimport (\n\"time\"\n\"context\"\n\"os\"\n_ " + ours + "restore\"\n_ " + ours + "internal/clustertest\"\n)\nvar t, c, e = time.Now(), context.Background(), os.WriteFile(\"x\", nil, 0)",
	"verify/main_test.go":          "package verify\nimport (\n\"os\"\n\"testing\"\n)\nfunc TestMain(m *testing.M) { os.Exit(m.Run()) }",
	"verify/panic.go":              "package verify\nfunc f() {\n// impossible: the caller\n// has checked\npanic(1)\n}\nfunc g() { panic(1) } // impossible: too",
	"verify/skip_test.go":          "package verify\nimport \"testing\"\nfunc f(t *testing.T, r reader) { r.Skip(4); t.Log(1) }",
	"verify/method.go":             "package verify\ntype x struct{}\nfunc (x) init() {}\nfunc (x) Now() {}\nvar _ = x{}.Now",
	"verify/words.go":              "package verify\nvar x = redis.Options{MasterName: client.Slaves}",
	"restore/words.go":             "package restore\nvar slaveFlag = \"slave\"",
	"internal/redisproc/config.go": "package redisproc\nimport \"os\"\nvar err = os.WriteFile(\"redis.conf\", nil, 0o600) // private: of one process",
	"cmd/slotark/main.go":          "package main\nimport (\n\"context\"\n\"fmt\"\n\"os\"\n)\nfunc main() { fmt.Println(context.Background()); os.Exit(1) }",
	"internal/demo/main.go":        "package main\nimport (\n_ " + ours + "internal/dataset\"\n\"os\"\n)\nfunc main() { os.Exit(1) }",
	"internal/clustertest/a.go":    "package clustertest\nimport (\n_ " + ours + "internal/dataset\"\n\"context\"\n\"time\"\n)\nvar c, now = context.Background(), time.Now",
	"verify/long.go":               "package verify\nfunc long() {" + lines(maxFuncLines-1) + "}" + lines(maxFileLines-maxFuncLines),
	"verify/long_test.go":          "package verify\nfunc TestLong() {" + lines(maxFuncLines+10) + "}",
	"verify/dependency.go":         "package verify\nimport _ \"example.org/x/y/v2/z\"",
	dependenciesDoc:                "- `example.org/x/y`: z",
}

func TestAllowed(t *testing.T) {
	for name, text := range allowed {
		t.Run(name, func(t *testing.T) {
			o := offence{file: name, text: text, extra: map[string]string{dependenciesDoc: allowed[dependenciesDoc]}}
			sources := o.sources()
			if name == dependenciesDoc {
				sources = map[string]string{name: text}
			}
			if path.Dir(name) == "internal/demo" {
				sources["internal/demo/doc.go"] = "// Command demo is x.\npackage main"
			}
			for _, finding := range Check(sources) {
				t.Error(finding)
			}
		})
	}
}

// TestTable holds the table itself to its word.
func TestTable(t *testing.T) {
	for pkg := range restricted {
		if _, ok := layers[pkg]; !ok {
			t.Errorf("restricted names %s, which has no layer", pkg)
		}
	}
	for pair := range sameLayer {
		if layers[pair[0]] != layers[pair[1]] {
			t.Errorf("%v are not of the same layer", pair)
		}
	}
	for _, b := range boundaries {
		for _, pkg := range append(b.from, b.to...) {
			if _, ok := layers[pkg]; !ok {
				t.Errorf("a boundary names %s, which has no layer", pkg)
			}
		}
	}
}
