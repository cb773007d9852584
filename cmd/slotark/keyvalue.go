package main

import (
	"unicode/utf8"

	"github.com/slotark/slotark/internal/rdb"
)

// survey learns in a first reading which of the texts that come in pieces are
// UTF-8: the second has to know it before the first piece is written.
type survey struct {
	plain       []bool // of each such text, in order
	text, value utf8Scan
	inPieces    bool
}

func (s *survey) add(e *rdb.Element) error {
	if e.More && !s.inPieces {
		s.inPieces, s.text, s.value = true, utf8Scan{}, utf8Scan{}
	}
	if !s.inPieces {
		return nil
	}
	s.text.add(e.Text)
	s.value.add(e.Value)
	if !e.More {
		s.plain = append(s.plain, s.text.valid())
		if e.Kind == rdb.ElementField {
			s.plain = append(s.plain, s.value.valid())
		}
		s.inPieces = false
	}
	return nil
}

// utf8Scan tells whether pieces together are UTF-8.
type utf8Scan struct {
	rest []byte // of a character that the last piece ended in
	bad  bool
}

func (s *utf8Scan) add(p []byte) {
	if s.bad {
		return
	}
	if len(s.rest) > 0 {
		p = append(s.rest, p...)
	}
	end := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if first := len(p) - back; utf8.RuneStart(p[first]) {
			if !utf8.FullRune(p[first:]) {
				end = first
			}
			break
		}
	}
	s.bad = !utf8.Valid(p[:end])
	s.rest = append([]byte(nil), p[end:]...)
}

func (s *utf8Scan) valid() bool { return !s.bad && len(s.rest) == 0 }

// next takes what was learnt of the next text in pieces.
func (s *survey) next() bool {
	plain := s.plain[0]
	s.plain = s.plain[1:]
	return plain
}

// section is a list within a stream's or its group's object.
type section int

const (
	noGroup section = iota
	pendingEntries
	consumers
	releasedEntries
)

// valueWriter writes a value's elements as they come. docs/json.md shows what of
// each type.
type valueWriter struct {
	*jsonWriter
	family rdb.Family
	texts  *survey

	inElement bool // the last call's element goes on
	inValue   bool // in its value
	inPieces  bool
	plain     bool // the text that is being written

	section    section
	inConsumer bool
}

func newValueWriter(w *jsonWriter, family rdb.Family, texts *survey) *valueWriter {
	v := &valueWriter{jsonWriter: w, family: family, texts: texts}
	switch family {
	case rdb.List, rdb.Set, rdb.Zset, rdb.Hash:
		w.open('[')
	case rdb.Stream:
		w.open('{')
		w.name("entries")
		w.open('[')
	case rdb.Array, rdb.Module:
		w.open('{')
	}
	return v
}

// finish ends the value and the object it is in.
func (v *valueWriter) finish() {
	v.enter(noGroup)
	if v.family == rdb.Array { // perhaps it has none
		v.openElements("elements")
	}
	for len(v.closers) > 0 {
		v.close()
	}
}

// add writes an element, or a piece of one. What out cannot take, it keeps as
// its error: then there is no use in reading on.
func (v *valueWriter) add(e *rdb.Element) error {
	switch e.Kind {
	case rdb.ElementString, rdb.ElementList, rdb.ElementMember, rdb.ElementScored, rdb.ElementField, rdb.ElementIndexed, rdb.ElementModuleString:
		v.addText(e)
	case rdb.ElementCursor:
		v.name("next_index")
		v.number(e.Index)
	case rdb.ElementFloat:
		v.openElement(e)
		v.name("float")
		v.float(e.Float)
		v.close()
	case rdb.ElementModule, rdb.ElementModuleInt, rdb.ElementModuleUint, rdb.ElementModuleFloat, rdb.ElementModuleDouble:
		v.addModule(e)
	default:
		v.addStream(e)
	}
	_, err := v.out.Write(nil) // what it could not write before
	return err
}

// addText writes an element that has a text, and what belongs to it.
func (v *valueWriter) addText(e *rdb.Element) {
	if !v.inElement {
		v.inElement, v.inValue, v.inPieces = true, false, e.More
		v.openElement(e)
		v.begin(e.Text)
	}
	if !v.inValue {
		v.piece(e.Text, v.plain)
		if e.Value == nil && e.More {
			return
		}
		v.endText()
		if e.Kind == rdb.ElementField {
			v.inValue = true
			v.name("value")
			v.begin(e.Value)
		}
	}
	if v.inValue {
		v.piece(e.Value, v.plain)
	}
	if e.More {
		return
	}
	if v.inValue {
		v.endText()
	}
	v.inElement = false
	v.closeElement(e)
}

// begin begins a text, of which p is the first piece.
func (v *valueWriter) begin(p []byte) {
	if v.inPieces {
		v.plain = v.texts.next()
	} else {
		v.plain = utf8.Valid(p)
	}
	v.before()
	v.beginText(v.plain)
}

// openElement writes what stands before an element's text.
func (v *valueWriter) openElement(e *rdb.Element) {
	if e.Kind == rdb.ElementIndexed || e.Kind == rdb.ElementFloat {
		v.openElements("elements")
	}
	name := map[rdb.ElementKind]string{
		rdb.ElementScored: "member", rdb.ElementField: "field", rdb.ElementModuleString: "string", rdb.ElementIndexed: "text",
	}[e.Kind]
	if name == "" && e.Kind != rdb.ElementFloat {
		return
	}
	v.openInline('{')
	if v.family == rdb.Array {
		v.name("index")
		v.number(e.Index)
	}
	if name != "" {
		v.name(name)
	}
}

// closeElement writes what stands behind an element's text.
func (v *valueWriter) closeElement(e *rdb.Element) {
	switch e.Kind {
	case rdb.ElementString, rdb.ElementList, rdb.ElementMember:
		return
	case rdb.ElementScored:
		v.name("score")
		v.float(e.Float)
	case rdb.ElementField:
		if e.Time != 0 {
			v.instant("expires", e.Time)
		}
	}
	v.close()
}

// openElements begins the list of elements in the value's object, once.
func (v *valueWriter) openElements(name string) {
	if v.closers[len(v.closers)-1] == '}' {
		v.name(name)
		v.open('[')
	}
}

func (v *valueWriter) addModule(e *rdb.Element) {
	if e.Kind == rdb.ElementModule {
		v.name("module")
		v.text(e.Text)
		v.name("encoding_version")
		v.number(e.Index)
		v.openElements("values")
		return
	}
	v.openInline('{')
	switch e.Kind {
	case rdb.ElementModuleInt:
		v.name("signed")
		v.number(int64(e.Index))
	case rdb.ElementModuleUint:
		v.name("unsigned")
		v.number(e.Index)
	case rdb.ElementModuleFloat:
		v.name("float")
		v.float(e.Float)
	default:
		v.name("double")
		v.float(e.Float)
	}
	v.close()
}

func (v *valueWriter) addStream(e *rdb.Element) {
	switch e.Kind {
	case rdb.ElementEntry:
		v.addEntry(e)
	case rdb.ElementStreamState:
		v.close() // the entries
		v.name("length")
		v.number(e.Count)
		v.name("last_id")
		v.string(e.ID.String())
		v.name("max_deleted_id")
		v.string(e.Deleted.String())
		v.name("entries_added")
		v.number(e.Added)
		v.name("groups")
		v.open('[')
	case rdb.ElementGroup:
		v.enter(noGroup)
		v.open('{')
		v.name("name")
		v.text(e.Group)
		v.name("last_delivered_id")
		v.string(e.ID.String())
		v.name("pending")
		v.open('[')
		v.section = pendingEntries
	case rdb.ElementPending:
		v.openInline('{')
		v.name("id")
		v.string(e.ID.String())
		v.instant("delivered", e.Time)
		v.name("deliveries")
		v.number(e.Count)
		v.close()
	case rdb.ElementConsumer:
		v.enter(consumers)
		v.endConsumer()
		v.openInline('{')
		v.name("name")
		v.text(e.Consumer)
		v.name("pending")
		v.open('[')
		v.inConsumer = true
	case rdb.ElementHeld:
		v.string(e.ID.String())
	case rdb.ElementReleased:
		v.enter(releasedEntries)
		v.string(e.ID.String())
	}
}

func (v *valueWriter) addEntry(e *rdb.Element) {
	v.openInline('{')
	v.name("id")
	v.string(e.ID.String())
	v.name("fields")
	v.open('[')
	for i := 0; i+1 < len(e.Pairs); i += 2 {
		v.open('[')
		v.text(e.Pairs[i])
		v.text(e.Pairs[i+1])
		v.close()
	}
	v.close()
	v.close()
}

// enter goes on to a section of the group that is open; noGroup ends the group.
// Each section comes, if only empty.
func (v *valueWriter) enter(next section) {
	for v.section != next {
		v.endConsumer()
		v.close() // the section's list
		switch v.section {
		case pendingEntries:
			v.section = consumers
			v.name("consumers")
			v.open('[')
		case consumers:
			v.section = releasedEntries
			v.name("released")
			v.open('[')
		case releasedEntries:
			v.section = noGroup
			v.close() // the group
		}
	}
}

func (v *valueWriter) endConsumer() {
	if v.inConsumer {
		v.inConsumer = false
		v.close() // what is pending
		v.close()
	}
}
