package restore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/rdb"
)

// Logical replay sends values as the commands that make them: SET, RPUSH, SADD, ZADD,
// HSET, XADD and what belongs to it. That needs nobody who reads the dump's version,
// and takes longer than RESTORE. What no command can make is looked for in every dump
// before a target is changed.

const (
	// One command carries so many elements, or so many bytes of them, at most: a
	// node answers no one else meanwhile.
	logicalElements = 512
	logicalBytes    = 256 << 10

	hintLogical = "Restore into the engine and the version that the snapshot was taken from, or a newer version of it; or send its values as commands: --logical."
	hintCannot  = "Restore into a server that reads the dumps, without --logical."
)

// checkLogical refuses what commands cannot carry, with how many keys it is, before
// anything is changed.
func (r *run) checkLogical(ctx context.Context) error {
	if !r.Logical {
		return nil
	}
	if r.AOF {
		return hint.Refuse(fmt.Errorf("append-only files are commands already"), "Leave --logical or --from-aof out.")
	}
	fieldExpiry := true
	for _, t := range r.targets {
		version, _ := parseRelease(t.version)
		if !version.atLeast(7, 0) {
			return hint.Refuse(fmt.Errorf("%s runs %s %s: commands that make streams as they were are there since 7.0", t.addr(), engineName(t.engine), t.version), hintVersion)
		}
		fieldExpiry = fieldExpiry && hasFieldExpiry(t.engine, version)
	}
	found, err := r.survey(ctx, func(rec *rdb.Record) carrier { return newCarrier(rec, fieldExpiry) })
	if err != nil {
		return fmt.Errorf("look for what commands cannot carry: %w", err)
	}
	var facts []string
	for _, why := range slices.Sorted(maps.Keys(found.cannot)) {
		facts = append(facts, human.Plural(found.cannot[why], "key")+" with "+why)
	}
	if len(facts) > 0 {
		return hint.Refuse(fmt.Errorf("commands cannot carry all of the snapshot: %s", human.List(facts)), hintCannot)
	}
	return nil
}

// hasFieldExpiry tells whether a server has HPEXPIREAT.
func hasFieldExpiry(engine string, version release) bool {
	if engine == "valkey" {
		return version.atLeast(9, 0)
	}
	return version.atLeast(7, 4)
}

// carrier finds out of a key's elements whether commands can carry it.
type carrier struct {
	fieldExpiry bool
	why         string
	ids         []rdb.StreamID // of a stream's entries, in order
}

func newCarrier(rec *rdb.Record, fieldExpiry bool) carrier {
	c := carrier{fieldExpiry: fieldExpiry}
	switch {
	case rec.Family == rdb.Module:
		c.why = "a module's value"
	case rec.Family == rdb.Array:
		c.why = "an array"
	case rec.HasMeta:
		c.why = "a module's metadata"
	case !rec.Portable():
		c.why = "a hash template"
	}
	return c
}

// look looks at one element.
func (c *carrier) look(e *rdb.Element) error {
	switch e.Kind {
	case rdb.ElementField:
		if e.Time != 0 && !c.fieldExpiry {
			c.why = "an expiry of a hash's field, which the nodes do not have"
		}
	case rdb.ElementEntry:
		c.ids = append(c.ids, e.ID)
	case rdb.ElementPending:
		if _, there := slices.BinarySearchFunc(c.ids, e.ID, compareIDs); !there {
			c.why = "a pending entry whose stream has it no longer"
		}
	case rdb.ElementReleased:
		c.why = "a pending entry that nobody holds"
	}
	return nil
}

func compareIDs(a, b rdb.StreamID) int {
	if a.MS != b.MS {
		return compareUint(a.MS, b.MS)
	}
	return compareUint(a.Seq, b.Seq)
}

func compareUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// writing is one key on its way, as commands.
type writing struct {
	loader *loader
	way    *lane
	key    []byte
	args   []any // of the command that is being collected
	size   int
	text   []byte // of an element that comes in pieces, as far as it is there
	value  []byte
	parted bool  // such an element is under way
	begun  bool  // something was sent
	expire []any // HPEXPIREAT: time and field by turns
	// Of a stream's group: what is pending, until it is said who holds it.
	pending map[rdb.StreamID]rdb.Element
}

// view begins a key.
func (l *loader) view(rec *rdb.Record) func(*rdb.Element) error {
	l.writing = nil
	if !l.shard.Slots.Contains(rec.Slot) {
		return nil // which the record's own turn finds
	}
	if rec.HasExpiry && rec.ExpireAt <= l.Now().UnixMilli() {
		return nil // it would be gone at once
	}
	way := l.lanes.to(rec.Slot)
	if err := way.choose(rec.DB); err != nil {
		return func(*rdb.Element) error { return pipeError{err} }
	}
	w := &writing{loader: l, way: way, key: bytes.Clone(rec.Key)}
	l.writing = w
	return func(e *rdb.Element) error {
		if err := w.element(e); err != nil {
			return pipeError{err}
		}
		return nil
	}
}

// element sends an element, or keeps it for the command that it belongs to.
func (w *writing) element(e *rdb.Element) error {
	if e.Kind != rdb.ElementString && (e.More || w.parted) { // a string grows where it is
		w.text, w.value = append(w.text, e.Text...), append(w.value, e.Value...)
		if w.parted = e.More; e.More {
			return nil
		}
		whole := *e
		whole.Text, whole.Value = w.text, w.value
		w.text, w.value = nil, nil
		return w.whole(&whole)
	}
	if e.Kind == rdb.ElementString && w.begun {
		return w.grow(e.Text)
	}
	return w.whole(e)
}

func (w *writing) grow(text []byte) error {
	name := "APPEND"
	if !w.begun {
		name = "SET"
	}
	return w.send(name, text)
}

func (w *writing) whole(e *rdb.Element) error {
	switch e.Kind {
	case rdb.ElementString:
		return w.send("SET", e.Text)
	case rdb.ElementList:
		return w.collect("RPUSH", e.Text)
	case rdb.ElementMember:
		return w.collect("SADD", e.Text)
	case rdb.ElementScored:
		return w.collect("ZADD", []byte(strconv.FormatFloat(e.Float, 'g', -1, 64)), e.Text)
	case rdb.ElementField:
		if e.Time != 0 {
			w.expire = append(w.expire, e.Time, bytes.Clone(e.Text))
		}
		return w.collect("HSET", e.Text, e.Value)
	}
	return w.stream(e)
}

// collect adds arguments to a command, which is sent when it is large enough.
func (w *writing) collect(name string, texts ...[]byte) error {
	if len(w.args) == 0 {
		w.args = []any{name, w.key}
	}
	for _, text := range texts {
		w.args = append(w.args, bytes.Clone(text))
		w.size += len(text)
	}
	if len(w.args) < logicalElements && w.size < logicalBytes {
		return nil
	}
	return w.flush()
}

func (w *writing) flush() error {
	if len(w.args) == 0 {
		return nil
	}
	args := w.args
	w.args, w.size = nil, 0
	return w.command(args...)
}

// send sends a command of this key.
func (w *writing) send(name string, args ...any) error {
	return w.command(append([]any{name, w.key}, args...)...)
}

func (w *writing) command(args ...any) error {
	w.begun = true
	text := cluster.AppendCommand(nil, args...)
	return w.way.send(sent{what: kindKey, name: string(w.key[:min(len(w.key), maxKeyBytes+1)]), weight: int64(len(text))}, func(to *bufio.Writer) error {
		_, err := to.Write(text)
		return err
	})
}

// stream sends what makes a stream: its entries, its state, then each group with what
// is pending in it. What is left out of digests has no commands here, either.
func (w *writing) stream(e *rdb.Element) error {
	switch e.Kind {
	case rdb.ElementEntry:
		args := []any{e.ID.String()}
		for _, text := range e.Pairs {
			args = append(args, bytes.Clone(text))
		}
		return w.send("XADD", args...)
	case rdb.ElementStreamState:
		return w.streamState(e)
	case rdb.ElementGroup:
		w.pending = map[rdb.StreamID]rdb.Element{}
		return w.command("XGROUP", "CREATE", w.key, bytes.Clone(e.Group), e.ID.String())
	case rdb.ElementPending:
		w.pending[e.ID] = rdb.Element{Time: e.Time, Count: e.Count}
		return nil
	case rdb.ElementConsumer:
		return w.command("XGROUP", "CREATECONSUMER", w.key, bytes.Clone(e.Group), bytes.Clone(e.Consumer))
	case rdb.ElementHeld:
		of := w.pending[e.ID]
		return w.send("XCLAIM", bytes.Clone(e.Group), bytes.Clone(e.Consumer), 0, e.ID.String(),
			"TIME", of.Time, "RETRYCOUNT", of.Count, "FORCE", "JUSTID")
	}
	return hint.Add(fmt.Errorf("key %s cannot be sent as commands", quoteKey(w.key)), hintCannot)
}

func (w *writing) streamState(e *rdb.Element) error {
	if !w.begun { // it has no entries: one is made, and taken away
		err := w.command("XGROUP", "CREATE", w.key, "slotark", "0", "MKSTREAM")
		if err == nil {
			err = w.command("XGROUP", "DESTROY", w.key, "slotark")
		}
		if err != nil {
			return err
		}
	}
	args := []any{e.ID.String(), "ENTRIESADDED", e.Added, "MAXDELETEDID", e.Deleted.String()}
	return w.send("XSETID", args...)
}

// end sends what is left of a key, and its expiry last.
func (w *writing) end(rec *rdb.Record) error {
	if err := w.flush(); err != nil {
		return err
	}
	for i := 0; i < len(w.expire); i += 2 {
		if err := w.send("HPEXPIREAT", w.expire[i], "FIELDS", 1, w.expire[i+1]); err != nil {
			return err
		}
	}
	if !rec.HasExpiry {
		return nil
	}
	return w.send("PEXPIREAT", rec.ExpireAt)
}

// endOf ends a key that was sent as commands.
func (l *loader) endOf(rec *rdb.Record) error {
	if l.writing == nil {
		return nil
	}
	return l.writing.end(rec)
}

// saysLogical is how keys are loaded, in words.
func (r *run) saysLogical() string {
	return strings.Join([]string{"SET", "RPUSH", "SADD", "ZADD", "HSET", "XADD"}, ", ") + " and what belongs to them"
}
