package restore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/rdb"
)

// libraries are the function libraries of one shard, as they stand after each of
// the commands that change them.
type libraries struct{ code [][]byte }

// libraryName is the name that a library's first line gives it, "#!lua name=stock";
// where it gives none, the line.
func libraryName(code []byte) string {
	line, _, _ := bytes.Cut(code, []byte("\n"))
	words, _ := aof.SplitArgs(string(line))
	for _, word := range words {
		if len(word) > 5 && strings.EqualFold(word[:5], "name=") {
			return word[5:]
		}
	}
	return string(line)
}

// load takes a library in, in the place of one of its name.
func (l *libraries) load(code []byte) {
	l.remove(libraryName(code))
	l.code = append(l.code, bytes.Clone(code))
}

func (l *libraries) remove(name string) {
	l.code = slices.DeleteFunc(l.code, func(code []byte) bool { return libraryName(code) == name })
}

// apply does what a FUNCTION command of an append-only file does, all of whose
// arguments are given. A server writes only those that came out well.
func (l *libraries) apply(args [][]byte) error {
	if len(args) < 2 {
		return fmt.Errorf("FUNCTION with %d arguments", len(args)-1)
	}
	action, rest := strings.ToUpper(string(args[1])), args[2:]
	switch {
	case action == "LOAD" && len(rest) > 0:
		l.load(rest[len(rest)-1])
	case action == "DELETE" && len(rest) == 1:
		l.remove(string(rest[0]))
	case action == "FLUSH":
		l.code = nil
	case action == "RESTORE" && len(rest) > 0:
		code, err := rdb.Libraries(rest[0])
		if err != nil {
			return fmt.Errorf("FUNCTION RESTORE: %w", err)
		}
		if len(rest) > 1 && strings.EqualFold(string(rest[1]), "FLUSH") {
			l.code = nil
		}
		for _, library := range code {
			l.load(library)
		}
	default:
		return fmt.Errorf("FUNCTION %s with %d arguments", quoteKey(args[1]), len(rest))
	}
	return nil
}

// librariesOf are the libraries that a shard of the layout gets: those of all
// shards that it is made of, each once. Where two have different code under one
// name there is no telling which is right.
func (r *run) librariesOf(shard int) [][]byte {
	var all [][]byte
	byName := map[string][]byte{}
	for _, source := range r.sourcesOf(shard) {
		for _, code := range r.code[source] {
			name := libraryName(code)
			other, twice := byName[name]
			switch {
			case !twice:
				byName[name] = code
				all = append(all, code)
			case !bytes.Equal(other, code):
				r.note("functions-disagree", "error", "shard "+r.layout[shard].String(),
					fmt.Sprintf("the shards that it is made of have different function libraries of the name %s: it got that of the first", quoteKey([]byte(name))))
			}
		}
	}
	return all
}
