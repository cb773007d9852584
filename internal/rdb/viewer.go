package rdb

import (
	"encoding/binary"
	"math"
)

// viewer makes elements of what the digester hashes: every item of a value
// passes through its hasher in the one form that DIGEST.md defines, whatever
// it was encoded as, so nothing is decoded a second time. Items reach it in
// pieces, when the hasher's buffer is full and at their end.
type viewer struct {
	show func(*Element) error
	err  error // of show; nothing is shown after it

	element Element
	steps   []step // what of the item is still to come; nil: it is decoded when it is whole
	inText  bool   // the first step has begun
	left    uint64 // of its text
	buf     []byte // of the item, and not shown yet
	name    []byte // memory for a module's name
}

// step is a part of an item that can be shown before the item is whole.
type step uint8

const (
	stepText step = iota + 1
	stepValue
	stepScore
	stepExpiry
	stepIndex
	stepArrayTag
	stepModuleType
	stepModuleCode
	stepFloat32
)

// partModuleValue is a part of a module's value whose code is still to come.
const partModuleValue ElementKind = 0xff

// layouts are the steps of the items whose texts may be huge.
var layouts = map[ElementKind][]step{
	ElementString:   {stepText},
	ElementList:     {stepText},
	ElementMember:   {stepText},
	ElementScored:   {stepText, stepScore},
	ElementField:    {stepText, stepValue, stepExpiry},
	ElementIndexed:  {stepIndex, stepArrayTag},
	ElementCursor:   {stepIndex},
	ElementModule:   {stepModuleType},
	partModuleValue: {stepModuleCode},
}

// moduleLayouts are what follows the codes of a module's value.
var moduleLayouts = [...]struct {
	kind ElementKind
	step step
}{
	moduleSInt:   {ElementModuleInt, stepIndex},
	moduleUInt:   {ElementModuleUint, stepIndex},
	moduleFloat:  {ElementModuleFloat, stepFloat32},
	moduleDouble: {ElementModuleDouble, stepScore},
	moduleString: {ElementModuleString, stepText},
}

// taggedKinds are the elements that items are, by their tag. A key's item holds
// none, or its elements as parts.
var taggedKinds = [...]ElementKind{
	tagKey:         0,
	tagMember:      ElementMember,
	tagScored:      ElementScored,
	tagField:       ElementField,
	tagEntry:       ElementEntry,
	tagGroup:       ElementGroup,
	tagPending:     ElementPending,
	tagConsumer:    ElementConsumer,
	tagOwned:       ElementHeld,
	tagReleased:    ElementReleased,
	tagStreamState: ElementStreamState,
	tagElement:     ElementIndexed,
	tagCursor:      ElementCursor,
}

// part ends what is shown of a key's item so far and begins an element of it:
// what has an order is one item for a digest, and many for a view.
func (h *hasher) part(kind ElementKind) {
	if h.view != nil {
		h.spill()
		h.view.end()
		h.view.begin(kind)
	}
}

// endView shows the item.
func (h *hasher) endView() {
	if h.view != nil {
		h.spill()
		h.view.end()
	}
}

// take takes bytes of an item, the first of which is its tag.
func (v *viewer) take(p []byte, first bool) {
	if v == nil {
		return
	}
	if first {
		v.begin(taggedKinds[p[0]])
		p = p[1:]
	}
	if v.element.Kind == 0 {
		return
	}
	v.buf = append(v.buf, p...)
	if v.steps != nil && len(v.buf) >= PieceBytes {
		v.drain(true)
	}
}

// begin forgets what was not ended: items that the digester began only to tell
// names apart.
func (v *viewer) begin(kind ElementKind) {
	v.element = Element{Kind: kind}
	v.steps, v.inText, v.buf = layouts[kind], false, v.buf[:0]
}

// end shows the item, or what has not been shown of it.
func (v *viewer) end() {
	if v.steps != nil {
		v.drain(false)
	} else if v.element.Kind != 0 {
		v.decode()
		v.emit()
	}
	v.begin(0)
}

func (v *viewer) emit() {
	if v.err == nil {
		v.err = v.show(&v.element)
	}
}

// drain shows what has come of the item.
func (v *viewer) drain(more bool) {
	e := &v.element
	e.More, e.Text, e.Value = more, nil, nil
	rest := v.buf
	for len(v.steps) > 0 {
		var whole bool
		if rest, whole = v.follow(v.steps[0], rest); !whole {
			break
		}
	}
	if e.Kind != partModuleValue { // a module's end
		v.emit()
	}
	v.buf = v.buf[:copy(v.buf, rest)]
}

// follow takes one step, as far as its bytes are there.
func (v *viewer) follow(s step, p []byte) (rest []byte, whole bool) {
	e := &v.element
	if s == stepText || s == stepValue {
		return v.text(s, p)
	}
	if s == stepFloat32 {
		if len(p) < 4 {
			return p, false
		}
		e.Float = float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))
		v.steps = v.steps[1:]
		return p[4:], true
	}
	if len(p) < 8 {
		return p, false
	}
	n := binary.LittleEndian.Uint64(p)
	v.steps = v.steps[1:]
	switch s {
	case stepScore:
		e.Float = math.Float64frombits(n)
	case stepExpiry:
		e.Time = int64(n)
	case stepIndex:
		e.Index = n
	case stepArrayTag:
		v.steps = []step{stepText}
		if n == arrayFloat {
			e.Kind, v.steps = ElementFloat, []step{stepScore}
		}
	case stepModuleType:
		v.name = appendModuleName(v.name[:0], n)
		e.Text, e.Index = v.name, n&(1<<10-1)
	case stepModuleCode:
		if n != moduleEOF {
			e.Kind, v.steps = moduleLayouts[n].kind, []step{moduleLayouts[n].step}
		}
	}
	return p[8:], true
}

// text takes what is there of a text behind its length.
func (v *viewer) text(s step, p []byte) (rest []byte, whole bool) {
	if !v.inText {
		if len(p) < 8 {
			return p, false
		}
		v.left, v.inText = binary.LittleEndian.Uint64(p), true
		p = p[8:]
	}
	n := min(v.left, uint64(len(p)))
	if s == stepText {
		v.element.Text = p[:n:n]
	} else {
		v.element.Value = p[:n:n]
	}
	if v.left -= n; v.left > 0 {
		return p[n:], false
	}
	v.inText, v.steps = false, v.steps[1:]
	return p[n:], true
}

// decode makes the element of a whole item of a stream.
func (v *viewer) decode() {
	e, p := &v.element, canonical(v.buf)
	switch e.Kind {
	case ElementEntry:
		e.ID = StreamID{p.number(), p.number()}
		for len(p) > 0 {
			e.Pairs = append(e.Pairs, p.text())
		}
		return
	case ElementStreamState:
		e.ID, e.Deleted = StreamID{p.number(), p.number()}, StreamID{p.number(), p.number()}
		e.Added, e.Count = p.number(), p.number()
		return
	}
	e.Group = p.text()
	switch e.Kind {
	case ElementGroup:
		e.ID = StreamID{p.number(), p.number()}
	case ElementConsumer:
		e.Consumer = p.text()
	case ElementHeld:
		e.Consumer = p.text()
		e.ID = p.id()
	case ElementReleased:
		e.ID = p.id()
	case ElementPending:
		e.ID = p.id()
		e.Time, e.Count = int64(p.number()), p.number()
	}
}

// canonical is an item in the form that is hashed, which this package wrote
// itself.
type canonical []byte

func (p *canonical) number() uint64 {
	n := binary.LittleEndian.Uint64(*p)
	*p = (*p)[8:]
	return n
}

func (p *canonical) text() []byte {
	n := p.number()
	text := (*p)[:n:n]
	*p = (*p)[n:]
	return text
}

// id takes an entry's id as a radix tree holds it.
func (p *canonical) id() StreamID {
	id := StreamID{binary.BigEndian.Uint64(*p), binary.BigEndian.Uint64((*p)[8:])}
	*p = (*p)[16:]
	return id
}
