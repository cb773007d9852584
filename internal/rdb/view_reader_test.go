package rdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hdt3213/rdb/core"
	"github.com/hdt3213/rdb/model"
	"github.com/slotark/slotark/internal/rdb"
)

// readable are the value types that hdt3213/rdb can read, by engine. Not among
// them: modules (7), which it passes over; whatever came after RDB 12 (26 and 27
// streams, 28 arrays, 30 and 32 hash templates), which it does not know.
var readable = map[string][]byte{
	"redis":  {0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25},
	"valkey": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 22},
}

// Another reader of dumps sees the same values: hdt3213/rdb, of every key of
// every fixture that it can read. It gets each key in a dump of its own, because
// of a cluster's dump since Redis 7.4 it reads nothing.
func TestViewAsAnotherReader(t *testing.T) {
	compared := map[string]map[byte]int{"redis": {}, "valkey": {}}
	refused := map[string]int{}
	dumps := map[string][]byte{"by hand": everyType(), "old": otherTypes(9), "candidates": otherTypes(12)}
	for _, file := range dumpFiles(t) {
		dumps[file.path] = file.data
	}
	for name, data := range dumps {
		eachSingle(t, data, func(engine string, rec *rdb.Record, want []string, single []byte) {
			got, err := readOther(single)
			switch {
			case !slices.Contains(readable[engine], rec.Type):
				refused[fmt.Sprintf("%s type %d: not known to it", engine, rec.Type)]++
			case err != nil && rec.Type == 18 && strings.Contains(err.Error(), "index out of range"):
				// It counts listpacks and looks them up by node.
				refused["list with an element in a node of its own before a packed one: it panics"]++
			case err != nil:
				t.Errorf("%s: it cannot read %s of %s type %d: %v", name, rec.Key, engine, rec.Type, err)
			case !slices.Equal(got, want):
				t.Errorf("%s: %s of %s type %d is\n%.600s\nfor it, for us\n%.600s", name, rec.Key, engine, rec.Type, strings.Join(got, "\n"), strings.Join(want, "\n"))
			default:
				compared[engine][rec.Type]++
			}
		})
	}
	for engine, types := range readable {
		for _, typ := range types {
			if compared[engine][typ] == 0 {
				t.Errorf("no %s value of type %d was compared", engine, typ)
			}
		}
	}
	t.Logf("compared, by type: %v", compared)
	for _, why := range slices.Sorted(maps.Keys(refused)) {
		t.Logf("not compared: %d of %s", refused[why], why)
	}
}

// otherTypes are types that no server of the fixtures writes, in the version
// that had them.
func otherTypes(version int) []byte {
	b := newDump(version).selectDB(0)
	if version == 12 {
		b.key(22, "rc").num(2).num(4102444800000).text("g", "w").num(0).text("f", "v")
		return b.key(23, "rc-lp").text(listpackOf("g", "w", "4102444800000", "f", "v", "0")).done()
	}
	b.key(15, "stream").num(1).text(id1, listpackOf("1", "0", "1", "f", "0", "2", "0", "0", "v", "4")).num(1).num(1).num(1)
	b.num(1).text("g").num(1).num(1).num(1).raw([]byte(id1)...).u64(77).num(2).num(1).text("c").u64(88).num(1).raw([]byte(id1)...)
	return b.done()
}

// eachSingle gives every key of a dump with its view and, made of it alone, a
// dump.
func eachSingle(t *testing.T, data []byte, do func(engine string, rec *rdb.Record, view []string, single []byte)) {
	t.Helper()
	var value bytes.Buffer
	var lines []string
	r := rdb.NewReader(bytes.NewReader(data), rdb.Options{Capture: &value, View: func(rec *rdb.Record) func(*rdb.Element) error {
		lines = nil
		return (&joiner{show: func(e *rdb.Element) { lines = append(lines, line(sortedPairs(e))) }}).add
	}})
	for {
		value.Reset()
		rec, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind != rdb.KindKey {
			continue
		}
		if rec.Family != rdb.List {
			slices.Sort(lines)
		}
		b := newDump(min(r.Header().Version, 12))
		if r.Header().Engine == "valkey" {
			b = newValkeyDump(r.Header().Version)
		}
		single := b.selectDB(0).key(rec.Type, string(rec.Key)).raw(value.Bytes()...).done()
		do(r.Header().Engine, rec, lines, single)
	}
}

// sortedPairs brings an entry's fields into an order: the other reader keeps none.
func sortedPairs(e *rdb.Element) *rdb.Element {
	pairs := map[string]string{}
	for i := 0; i+1 < len(e.Pairs); i += 2 {
		pairs[string(e.Pairs[i])] = string(e.Pairs[i+1])
	}
	sorted := *e
	sorted.Pairs = pairsOf(pairs)
	return &sorted
}

func pairsOf(fields map[string]string) (pairs [][]byte) {
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		pairs = append(pairs, []byte(field), []byte(fields[field]))
	}
	return pairs
}

// readOther reads the one key of a dump with hdt3213/rdb, in the lines of a view.
func readOther(single []byte) ([]string, error) {
	var lines []string
	add := func(e rdb.Element) { lines = append(lines, line(&e)) }
	objects := 0
	ordered := false
	err := core.NewDecoder(bytes.NewReader(single)).Parse(func(object model.RedisObject) bool {
		objects++
		switch o := object.(type) {
		case *model.StringObject:
			add(rdb.Element{Kind: rdb.ElementString, Text: o.Value})
		case *model.ListObject:
			ordered = true
			for _, text := range o.Values {
				add(rdb.Element{Kind: rdb.ElementList, Text: text})
			}
		case *model.SetObject:
			for _, text := range o.Members {
				add(rdb.Element{Kind: rdb.ElementMember, Text: text})
			}
		case *model.ZSetObject:
			for _, entry := range o.Entries {
				// Zero has one sign for us: plus nothing, minus zero is zero.
				add(rdb.Element{Kind: rdb.ElementScored, Text: []byte(entry.Member), Float: entry.Score + 0})
			}
		case *model.HashObject:
			for field, value := range o.Hash {
				add(rdb.Element{Kind: rdb.ElementField, Text: []byte(field), Value: value, Time: o.FieldExpirations[field]})
			}
		case *model.StreamObject:
			addStream(o, add)
		}
		return true
	})
	if err == nil && objects != 1 {
		err = errors.New("it found no key")
	}
	if !ordered {
		slices.Sort(lines)
	}
	return lines, err
}

func addStream(o *model.StreamObject, add func(rdb.Element)) {
	id := func(id *model.StreamId) rdb.StreamID {
		if id == nil { // of a stream before Redis 7.0
			return rdb.StreamID{}
		}
		return rdb.StreamID{MS: id.Ms, Seq: id.Sequence}
	}
	for _, node := range o.Entries {
		for _, entry := range node.Msgs {
			if !entry.Deleted {
				add(rdb.Element{Kind: rdb.ElementEntry, ID: id(entry.Id), Pairs: pairsOf(entry.Fields)})
			}
		}
	}
	added := o.AddedEntriesCount
	if o.Version < 2 {
		added = o.Length
	}
	add(rdb.Element{Kind: rdb.ElementStreamState, ID: id(o.LastId), Deleted: id(o.MaxDeletedId), Added: added, Count: o.Length})
	for _, g := range o.Groups {
		name := []byte(g.Name)
		add(rdb.Element{Kind: rdb.ElementGroup, Group: name, ID: id(g.LastId)})
		for _, p := range g.Pending {
			add(rdb.Element{Kind: rdb.ElementPending, Group: name, ID: id(p.Id), Time: int64(p.DeliveryTime), Count: p.DeliveryCount})
		}
		for _, c := range g.Consumers {
			add(rdb.Element{Kind: rdb.ElementConsumer, Group: name, Consumer: []byte(c.Name)})
			for _, held := range c.Pending {
				add(rdb.Element{Kind: rdb.ElementHeld, Group: name, Consumer: []byte(c.Name), ID: id(held)})
			}
		}
	}
}
