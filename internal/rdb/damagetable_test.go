package rdb_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// damageRow is a dump with exactly one thing wrong.
type damageRow struct {
	name string
	data []byte
	want string // the finding, whole: code, offset, detail; "": none
}

// damageGroup is the rows of one check.
type damageGroup struct {
	check   string
	deep    bool  // only a deep reading sees it
	sized   bool  // it is seen where the dump's size is known
	unsized bool  // where it is not known
	missing int64 // the announced size is that much more than there is
	o       rdb.InspectOptions
	rows    []damageRow
}

func damageGroups() []damageGroup {
	return slices.Concat(envelopeDamage(), deepDamage(), packedDamage())
}

// reading is one way to read a dump, and whether it sees what is wrong.
type reading struct {
	rdb.InspectOptions
	sees bool
}

// readings are the ways in which a group's dumps are read.
func (g damageGroup) readings(size int64) (all []reading) {
	for _, size := range []int64{0, size + g.missing} {
		if size == 0 && (g.sized || g.missing > 0) || size > 0 && g.unsized {
			continue
		}
		for _, o := range []rdb.InspectOptions{{}, {Deep: true}, {Digest: true}} {
			deep := o.Deep || o.Digest
			o.Size, o.Owned, o.Duplicates = size, g.o.Owned, g.o.Duplicates
			all = append(all, reading{o, deep || !g.deep})
		}
	}
	return all
}

// Each damage is caused once, and every reading that looks for it finds exactly
// that, at its byte.
func TestDamage(t *testing.T) {
	for _, group := range damageGroups() {
		for _, row := range group.rows {
			t.Run(group.check+"/"+row.name, func(t *testing.T) {
				for _, reading := range group.readings(int64(len(row.data))) {
					want := ""
					if reading.sees {
						want = row.want
					}
					got := ""
					report, err := inspect(row.data, reading.InspectOptions)
					if d := damageOf(err); d != nil {
						got = d.Error()
					} else if err != nil {
						t.Fatal(err)
					}
					if got != want || report == nil {
						t.Errorf("%+v: found %q, want %q", reading, got, want)
					}
				}
			})
		}
	}
}

// notDamage are the messages of this package that are not about a dump.
var notDamage = []string{
	"parse digest %q: want %d hexadecimal digits",
	"read dump at byte %d: the source counts wrongly",
	"%s at byte %d: %s", // how findings are written
	// What workers say among themselves, and of faults of this package.
	"a value before this one is damaged",
	"the payload of a value is damaged",
	"the checks of a value go beyond its end",
	"check the value at byte %d: it ends at byte %d, its checks at byte %d",
	"%v\n%s",
	// How a new dump begins.
	"REDIS%04d",
	"VALKEY%03d",
}

// Every finding this package has the words for is caused by a row: whoever adds
// a check adds a row.
func TestDamageTableIsComplete(t *testing.T) {
	codes, messages := findings(t)
	var caused []string
	for _, group := range damageGroups() {
		for _, row := range group.rows {
			caused = append(caused, row.want)
		}
	}
	// What is odd and no damage, and what is too large for every reading.
	caused = append(caused, resizeNote, templateBytesDamage, templateCountDamage, sharedNodeDamage, sharedTemplateDamage)
	caused = slices.Compact(slices.Sorted(slices.Values(caused)))
	for _, code := range codes {
		if !slices.ContainsFunc(caused, func(s string) bool { return strings.HasPrefix(s, code+" at byte ") }) {
			t.Errorf("no row causes the code %q", code)
		}
	}
	for _, message := range messages {
		pattern := verb.ReplaceAllString(regexp.QuoteMeta(message), "(?s:.+)")
		said := regexp.MustCompile(`^[a-z0-9-]+ at byte \d+: (.+: )?` + pattern + `$`)
		if !slices.ContainsFunc(caused, said.MatchString) {
			t.Errorf("no row causes %q", message)
		}
	}
	for _, check := range []string{"magic", "version", "length", "LZF", "listpack", "ziplist", "intset", "zipmap", "quicklist", "stream",
		"duplicate keys", "duplicate members", "CRC64", "nothing after the footer", "slot-info", "slot range", "keys in their slots"} {
		if !slices.ContainsFunc(damageGroups(), func(g damageGroup) bool { return g.check == check && len(g.rows) > 0 }) {
			t.Errorf("no row is about %s", check)
		}
	}
	if len(codes) < 15 || len(messages) < 80 {
		t.Errorf("only %d codes and %d messages were found in the package", len(codes), len(messages))
	}
}

var verb = regexp.MustCompile(`%[0-9]*[a-z]`)

// findings are the values of the Code and Note constants of this package, and
// the format strings of its damages, notes and errors, as its source has them.
func findings(t *testing.T) (codes, messages []string) {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if codeName.MatchString(name.Name) && i < len(n.Values) {
						codes = append(codes, literal(n.Values[i]))
					}
				}
			case *ast.CallExpr:
				if message := messageOf(n); message != "" && !slices.Contains(notDamage, message) {
					messages = append(messages, message)
				}
			}
			return true
		})
	}
	return codes, messages
}

var codeName = regexp.MustCompile(`^(Code|Note)[A-Z]`)

// messageOf is the format string of a call that makes a finding, where it has
// words of its own; an error that wraps another is the source's.
func messageOf(call *ast.CallExpr) string {
	place, makes := map[string]int{"damage": 2, "fmt.Errorf": 0, "fmt.Sprintf": 0, "errors.New": 0}[callee(call)]
	if !makes || place >= len(call.Args) {
		return ""
	}
	message := literal(call.Args[place])
	if strings.Contains(message, "%w") || strings.Trim(verb.ReplaceAllString(message, ""), " :") == "" {
		return ""
	}
	return message
}

// callee is the name a call has in the source.
func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return fmt.Sprint(f.X, ".", f.Sel)
	}
	return ""
}

// literal is a string constant's value, or "".
func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		if s, err := strconv.Unquote(l.Value); err == nil {
			return s
		}
	}
	return ""
}
