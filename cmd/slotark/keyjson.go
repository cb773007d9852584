package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// jsonWriter writes one JSON value piece by piece: on one line, or for a person
// in several. What cannot be written is an error of out, which keeps it.
type jsonWriter struct {
	out     *bufio.Writer
	pretty  bool
	closers []byte // of what is open
	inline  int    // from so many open ones on everything is on one line; 0: never
	begun   bool   // the innermost open one has an element
	named   bool   // a name was written and waits for its value
	encoder io.WriteCloser
}

// before writes what stands before a value or a name.
func (w *jsonWriter) before() {
	if w.named {
		w.named = false
		return
	}
	if w.begun {
		w.out.WriteByte(',')
	}
	if len(w.closers) > 0 {
		w.space(w.begun)
	}
	w.begun = true
}

// space parts elements: by a new line for a person, or by a blank where a person
// sees several in one line.
func (w *jsonWriter) space(blank bool) {
	switch {
	case !w.pretty:
	case w.inline == 0 || len(w.closers) < w.inline:
		w.out.WriteByte('\n')
		for range w.closers {
			w.out.WriteString("  ")
		}
	case blank:
		w.out.WriteByte(' ')
	}
}

// open begins an object or a list.
func (w *jsonWriter) open(bracket byte) {
	w.before()
	w.out.WriteByte(bracket)
	w.closers = append(w.closers, bracket+2) // ASCII has the closing one there
	w.begun = false
}

// openInline begins an object or a list that stands on one line as a whole.
func (w *jsonWriter) openInline(bracket byte) {
	w.open(bracket)
	if w.inline == 0 {
		w.inline = len(w.closers)
	}
}

// close ends the innermost object or list.
func (w *jsonWriter) close() {
	closer := w.closers[len(w.closers)-1]
	inline := w.inline != 0 && len(w.closers) >= w.inline
	w.closers = w.closers[:len(w.closers)-1]
	if w.begun && !inline {
		w.space(false)
	}
	w.out.WriteByte(closer)
	if len(w.closers) < w.inline {
		w.inline = 0
	}
	w.begun = true
}

// name writes the name of an object's member.
func (w *jsonWriter) name(name string) {
	w.before()
	w.beginText(true)
	w.piece([]byte(name), true)
	w.endText()
	w.out.WriteByte(':')
	if w.pretty {
		w.out.WriteByte(' ')
	}
	w.named = true
}

func (w *jsonWriter) string(s string) { w.text([]byte(s)) }

// number writes an integer.
func (w *jsonWriter) number(n any) {
	w.before()
	fmt.Fprint(w.out, n)
}

// float writes a number, in as few digits as bring the same binary64 back. JSON
// has no words for what is none.
func (w *jsonWriter) float(f float64) {
	switch {
	case math.IsNaN(f):
		w.string("nan")
	case math.IsInf(f, 1):
		w.string("inf")
	case math.IsInf(f, -1):
		w.string("-inf")
	default:
		w.before()
		w.out.WriteString(strconv.FormatFloat(f, 'g', -1, 64))
	}
}

// instant writes a time for a person, and in Unix milliseconds.
func (w *jsonWriter) instant(name string, ms int64) {
	w.name(name)
	w.string(time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	w.name(name + "_ms")
	w.number(ms)
}

// text writes a string of Redis, which may be any bytes.
func (w *jsonWriter) text(p []byte) {
	plain := utf8.Valid(p)
	w.before()
	w.beginText(plain)
	w.piece(p, plain)
	w.endText()
}

// beginText begins a string: a JSON string where it is UTF-8 and else
// {"base64": "..."}.
func (w *jsonWriter) beginText(plain bool) {
	if !plain {
		w.out.WriteString(`{"base64":`)
		if w.pretty {
			w.out.WriteByte(' ')
		}
		w.encoder = base64.NewEncoder(base64.StdEncoding, w.out)
	}
	w.out.WriteByte('"')
}

// piece writes bytes of a string. Those of UTF-8 may be cut anywhere.
func (w *jsonWriter) piece(p []byte, plain bool) {
	if !plain {
		w.encoder.Write(p)
		return
	}
	from := 0
	for i, b := range p {
		if b >= ' ' && b != '"' && b != '\\' && b != 0x7f {
			continue
		}
		w.out.Write(p[from:i])
		from = i + 1
		switch b {
		case '"', '\\':
			w.out.WriteByte('\\')
			w.out.WriteByte(b)
		case '\n':
			w.out.WriteString(`\n`)
		case '\r':
			w.out.WriteString(`\r`)
		case '\t':
			w.out.WriteString(`\t`)
		default:
			fmt.Fprintf(w.out, `\u%04x`, b)
		}
	}
	w.out.Write(p[from:])
}

func (w *jsonWriter) endText() {
	if w.encoder == nil {
		w.out.WriteByte('"')
		return
	}
	w.encoder.Close()
	w.encoder = nil
	w.out.WriteString(`"}`)
}
