package aof_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/aof"
)

const (
	setName  = "redis-7.0.15-commands" // a base of commands and an increment
	dumpName = "redis-7.0.15-after"    // a base that is a dump, and an increment
)

// fixtureDamage causes each kind of damage in the files of a real server: code
// by code, in one or in several ways.
var fixtureDamage = []struct {
	code   string
	set    string
	file   string // that is changed, and that the finding is of
	change func(data []byte) []byte
}{
	{aof.CodeManifest, setName, manifestName, replace("seq 2 type i", "seq 0 type i")},
	{aof.CodeManifest, setName, manifestName, replace(" type i", "")},
	{aof.CodeManifest, setName, manifestName, replace("file appendonly.aof.2.incr.aof", "more appendonly.aof.2.incr.aof")},
	{aof.CodeManifestEmpty, setName, manifestName, func([]byte) []byte { return nil }},
	{aof.CodeManifestLine, setName, manifestName, replace("\nfile", "\n\nfile")},
	{aof.CodeManifestLine, setName, manifestName, func(data []byte) []byte { return data[:len(data)-1] }},
	{aof.CodeManifestLine, setName, manifestName, replace("file", "colour "+strings.Repeat("x", 1024)+" file")},
	{aof.CodeManifestName, setName, manifestName, replace("file ", "file ../")},
	{aof.CodeManifestType, setName, manifestName, replace("type i", "type j")},
	{aof.CodeManifestBase, setName, manifestName, replace("seq 1 type h\n", "seq 1 type b\n")},
	{aof.CodeManifestOrder, setName, manifestName, replace("1 type h\nfile appendonly.aof.2", "9 type i\nfile appendonly.aof.2")},
	{aof.CodeManifestTwice, setName, manifestName, replace("incr.aof seq 2 type i\n", "incr.aof seq 2 type i\nfile appendonly.aof.2.incr.aof seq 3 type i\n")},
	{aof.CodeManifestSize, setName, manifestName, func(data []byte) []byte { return append(data, strings.Repeat("# and so on\n", 90_000)...) }},

	{aof.CodeFormat, setName, incr2, replace("*5\r\n$4\r\nMSET", "?5\r\n$4\r\nMSET")},
	{aof.CodeFormat, setName, incr2, replace("$4\r\nMSET", "$3\r\nMSET")},
	{aof.CodeFormat, setName, incr2, replace("*5\r\n$4\r\nMSET", "*4\r\n$4\r\nMSET")},
	{aof.CodeFormat, setName, incr2, replace("\r\n*5\r\n$4\r\nMSET", "\n*5\r\n$4\r\nMSET")},
	{aof.CodeFormat, setName, incr2, func(data []byte) []byte { return append(data, make([]byte, 4096)...) }},
	{aof.CodeLength, setName, incr2, replace("*5\r\n$4\r\nMSET", "*0\r\n$4\r\nMSET")},
	{aof.CodeTruncated, setName, incr2, func(data []byte) []byte { return data[:len(data)-1] }},
	{aof.CodeTruncated, setName, incr2, replace("$4\r\nMSET", "$99999\r\nMSET")},
	{aof.CodeTruncated, setName, "appendonly.aof.2.base.aof", func(data []byte) []byte { return data[:len(data)-1] }},
	{aof.CodeUnfinished, setName, incr2, func(data []byte) []byte { return data[:bytes.LastIndex(data, []byte("*1\r\n$4\r\nEXEC"))] }},
	{aof.CodeTransaction, setName, incr2, replace("*5\r\n$4\r\nMSET", "*1\r\n$4\r\nEXEC\r\n*5\r\n$4\r\nMSET")},
	{aof.CodeTransaction, setName, incr2, replace("*1\r\n$5\r\nMULTI\r\n", "*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n")},
	{aof.CodeDB, setName, incr2, replace("$6\r\nSELECT\r\n$1\r\n9", "$6\r\nSELECT\r\n$1\r\nx")},
	{aof.CodeTimestamp, setName, incr2, replace("#TS:1", "#TS:x")},
	{aof.CodeTimestamp, setName, incr2, func(data []byte) []byte { return append(data, "#TS:5\r\n"...) }},
	{aof.CodeUnknown, setName, incr2, replace("MSET", "COOK")},
	{aof.CodeDump, dumpName, base2, func(data []byte) []byte { data[len(data)/2] ^= 1; return data }},
	{aof.CodeDump, dumpName, base2, func(data []byte) []byte { return data[:len(data)-1] }},
	{aof.CodeDump, "redis-7.0.15-old", oldName, func(data []byte) []byte { data[100] ^= 1; return data }},
	{aof.CodeEmpty, dumpName, base2, func([]byte) []byte { return nil }},

	{aof.CodeMissing, setName, incr2, nil},
	{aof.CodeMissing, dumpName, base2, nil},
	{aof.CodeUnnamed, setName, "temp-rewriteaof-1.aof", func([]byte) []byte { return nil }},
}

const (
	incr2 = "appendonly.aof.2.incr.aof"
	base2 = "appendonly.aof.2.base.rdb"
)

// replace changes the first of a text.
func replace(before, after string) func([]byte) []byte {
	return func(data []byte) []byte { return bytes.Replace(data, []byte(before), []byte(after), 1) }
}

// Each damage in a real server's files is found, and nothing else is.
func TestFixtureDamage(t *testing.T) {
	sets, caused := map[string]fixture{}, map[string]bool{}
	for _, f := range fixtures(t) {
		sets[fmt.Sprintf("%s-%s-%s", f.engine, f.version, f.what)] = f
	}
	for i, c := range fixtureDamage {
		n := sets[c.set].namedSet
		n.folder = maps.Clone(n.folder)
		before, there := n.folder[c.file]
		if delete(n.folder, c.file); c.change != nil {
			n.folder[c.file] = c.change(slices.Clone(before))
		}
		if after, still := n.folder[c.file]; there && still && bytes.Equal(before, after) {
			t.Errorf("case %d, %s in %s: nothing was changed", i, c.code, c.file)
		}
		report, err := n.tryInspect(n.name)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Findings) != 1 || report.Findings[0].Code != c.code || report.Findings[0].File != c.file {
			t.Errorf("case %d: found %v, want %s of %s", i, report.Findings, c.code, c.file)
		}
		caused[c.code] = true
	}
	for _, code := range allCodes(t) {
		if !caused[code] {
			t.Errorf("no case causes %q", code)
		}
	}
}

// allCodes are the codes of damage.go.
func allCodes(t *testing.T) (codes []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), "damage.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Code") {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	if len(codes) < 21 {
		t.Fatalf("only %d codes", len(codes))
	}
	return codes
}
