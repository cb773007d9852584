package aof

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	// maxManifestLine is MANIFEST_MAX_LINE of aof.c, the line's end included.
	maxManifestLine = 1024
	// maxManifestBytes is ours: some 20,000 files, where a server has three.
	maxManifestBytes = 1 << 20
)

// Type is what a file is in its set.
type Type byte

// The types, as a manifest spells them.
const (
	Base    Type = 'b' // the data at the last rewrite
	History Type = 'h' // replaced by a rewrite, about to be deleted, not loaded
	Incr    Type = 'i' // the commands since
)

// String is the type's word.
func (t Type) String() string {
	switch t {
	case Base:
		return "base"
	case History:
		return "history"
	case Incr:
		return "incr"
	}
	return "none"
}

// NoOffset stands where a manifest does not say a replication offset.
const NoOffset = -1

// Entry is one file of a manifest.
type Entry struct {
	Name string
	Seq  int64
	Type Type
	// The replication offsets at which the file begins and ends, where the
	// manifest says so (Redis 8.0); else NoOffset. The end is only written when
	// the file was closed in order.
	StartOffset, EndOffset int64
	Line                   int // in the manifest, from 1; 0 where there is none
}

// Manifest is what a manifest says, in its own order.
type Manifest struct{ Entries []Entry }

// Loaded returns the files a server loads, in that order: the base, then the
// increments.
func (m *Manifest) Loaded() []Entry {
	var base, increments []Entry
	for _, e := range m.Entries {
		switch e.Type {
		case Base:
			base = append(base, e)
		case Incr:
			increments = append(increments, e)
		}
	}
	return append(base, increments...)
}

// ParseManifest reads a manifest as aofLoadManifestFromFile does. A *Damage is
// what a server refuses to start with; the manifest then holds the entries
// before it. Any other error is the source's own.
//
//	line = "file" SP name SP "seq" SP number SP "type" SP ( "b" | "h" | "i" )
//	       [ SP "startoffset" SP number [ SP "endoffset" SP number ] ] LF
//
// Pairs come in any order and unknown ones are passed over, names of pairs may
// be in capitals, and lines that begin with '#' are comments.
func ParseManifest(src io.Reader) (*Manifest, error) {
	p := manifestParser{manifest: &Manifest{}}
	in := bufio.NewReaderSize(io.LimitReader(src, maxManifestBytes+1), maxManifestLine)
	// A server reads with fgets: a longer line comes in pieces, and what follows
	// an overlong comment is judged as a line of its own.
	for {
		piece, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return p.manifest, fmt.Errorf("read manifest: %w", err)
		}
		if len(piece) > 0 {
			if wrong := p.add(piece); wrong != nil {
				return p.manifest, wrong
			}
		}
		if err == io.EOF {
			break
		}
	}
	if p.offset == 0 {
		d := damage(CodeManifestEmpty, 0, "the manifest is empty")
		d.Line = 1
		return p.manifest, d
	}
	return p.manifest, nil
}

type manifestParser struct {
	manifest *Manifest
	lines    int   // that have ended
	offset   int64 // behind the pieces read
	hasBase  bool
	lastSeq  int64 // of the increments
}

// add judges one piece, which is a line unless it is too long.
func (p *manifestParser) add(piece []byte) *Damage {
	at, line := p.offset, p.lines+1
	p.offset += int64(len(piece))
	ends := piece[len(piece)-1] == '\n'
	if ends {
		p.lines++
	}
	wrong := func(code, format string, args ...any) *Damage {
		d := damage(code, at, format, args...)
		d.Line = line
		return d
	}
	if p.offset > maxManifestBytes {
		return wrong(CodeManifestSize, "a manifest of more than %d bytes is none", maxManifestBytes)
	}
	if piece[0] == '#' {
		return nil
	}
	// To C a line ends at a NUL, so that its line end is not found.
	switch {
	case bytes.IndexByte(piece, 0) >= 0:
		return wrong(CodeManifestLine, "the line holds a NUL byte")
	case !ends && len(piece) == maxManifestLine:
		return wrong(CodeManifestLine, "the line is longer than %d bytes", maxManifestLine)
	case !ends:
		return wrong(CodeManifestLine, "the manifest ends within this line")
	}
	text := string(bytes.Trim(piece, " \t\r\n"))
	if text == "" {
		return wrong(CodeManifestLine, "the line is blank")
	}
	fields, ok := SplitArgs(text)
	if !ok {
		return wrong(CodeManifest, "%s has quotes that do not fit together", quote(text))
	}
	if len(fields) < 6 || len(fields)%2 != 0 {
		return wrong(CodeManifest, "%s is not at least three pairs", quote(text))
	}
	entry, code, detail := entryOf(fields)
	if code == "" {
		code, detail = p.place(entry)
	}
	if code != "" {
		return wrong(code, "%s", detail)
	}
	entry.Line = line
	p.manifest.Entries = append(p.manifest.Entries, entry)
	return nil
}

// entryOf reads the pairs of a line.
func entryOf(fields []string) (entry Entry, code, detail string) {
	entry = Entry{StartOffset: NoOffset, EndOffset: NoOffset}
	named := false
	for i := 0; i < len(fields); i += 2 {
		// These are C strings too.
		key, value := beforeNUL(fields[i]), beforeNUL(fields[i+1])
		switch strings.ToLower(key) {
		case "file":
			if strings.ContainsAny(value, `/\`) {
				return entry, CodeManifestName, fmt.Sprintf("%s is a path, not the name of a file beside the manifest", quote(value))
			}
			entry.Name, named = value, true
		case "seq":
			entry.Seq = atoll(value)
		case "type":
			entry.Type = 0
			if value != "" {
				entry.Type = Type(value[0])
			}
		case "startoffset":
			entry.StartOffset = atoll(value)
		case "endoffset":
			entry.EndOffset = atoll(value)
		}
	}
	switch {
	case !named:
		return entry, CodeManifest, "the line names no file"
	case entry.Seq == 0:
		return entry, CodeManifest, "the line has no sequence number other than 0"
	case entry.Type == 0:
		return entry, CodeManifest, "the line has no type"
	case entry.Name == "" || entry.Name == "." || entry.Name == "..":
		// Servers find out when they open it.
		return entry, CodeManifestName, fmt.Sprintf("%s is no name of a file", quote(entry.Name))
	}
	return entry, "", ""
}

// place judges an entry by those before it.
func (p *manifestParser) place(entry Entry) (code, detail string) {
	switch entry.Type {
	case Base:
		if p.hasBase {
			return CodeManifestBase, fmt.Sprintf("%s is a second base", quote(entry.Name))
		}
		p.hasBase = true
	case Incr:
		if entry.Seq <= p.lastSeq {
			return CodeManifestOrder, fmt.Sprintf("increment %s has sequence number %d, which is not above %d", quote(entry.Name), entry.Seq, p.lastSeq)
		}
		p.lastSeq = entry.Seq
	case History:
	default:
		return CodeManifestType, fmt.Sprintf("type %s is none of b, h and i", quote(string(rune(entry.Type))))
	}
	return "", ""
}

func beforeNUL(text string) string {
	text, _, _ = strings.Cut(text, "\x00")
	return text
}

// atoll reads a number as C does: what follows the digits is passed over, no
// digits are 0, and what is too large is the largest.
func atoll(text string) int64 {
	text = strings.TrimLeft(text, blanks)
	negative := strings.HasPrefix(text, "-")
	if negative || strings.HasPrefix(text, "+") {
		text = text[1:]
	}
	var n int64
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			break
		}
		digit := int64(c - '0')
		if negative {
			digit = -digit
		}
		switch {
		case n > (math.MaxInt64-digit)/10 && !negative:
			return math.MaxInt64
		case n < (math.MinInt64-digit)/10 && negative:
			return math.MinInt64
		}
		n = n*10 + digit
	}
	return n
}
