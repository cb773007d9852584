package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// written is what is printed of a value in these elements.
func written(t *testing.T, pretty bool, family rdb.Family, elements ...rdb.Element) string {
	t.Helper()
	var texts survey
	for i := range elements {
		texts.add(&elements[i])
	}
	var out bytes.Buffer
	w := &jsonWriter{out: bufio.NewWriter(&out), pretty: pretty}
	w.open('{')
	w.name("value")
	v := newValueWriter(w, family, &texts)
	for i := range elements {
		if err := v.add(&elements[i]); err != nil {
			t.Fatal(err)
		}
	}
	v.finish()
	w.out.Flush()
	if !json.Valid(out.Bytes()) {
		t.Errorf("no JSON: %s", out.String())
	}
	return out.String()
}

// TestValueWriter writes what no server at hand has, in the form that
// docs/json.md promises; the rest is held against real ones by TestShowKey.
func TestValueWriter(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	id := rdb.StreamID{MS: 5, Seq: 1}
	for _, test := range []struct {
		name     string
		family   rdb.Family
		elements []rdb.Element
		want     string
	}{
		{"expiring fields", rdb.Hash, []rdb.Element{
			{Kind: rdb.ElementField, Text: b("f"), Value: b("v"), Time: 4102444800123},
			{Kind: rdb.ElementField, Text: b("\xff"), Value: b("")},
		}, `[{"field":"f","value":"v","expires":"2100-01-01T00:00:00.123Z","expires_ms":4102444800123},{"field":{"base64":"/w=="},"value":""}]`},
		{"array", rdb.Array, []rdb.Element{
			{Kind: rdb.ElementCursor, Index: 77},
			{Kind: rdb.ElementIndexed, Index: 0, Text: b("s")},
			{Kind: rdb.ElementFloat, Index: 1 << 63, Float: 1.5},
		}, `{"next_index":77,"elements":[{"index":0,"text":"s"},{"index":9223372036854775808,"float":1.5}]}`},
		{"empty array", rdb.Array, nil, `{"elements":[]}`},
		{"module", rdb.Module, []rdb.Element{
			{Kind: rdb.ElementModule, Text: b("testtype-"), Index: 3},
			{Kind: rdb.ElementModuleInt, Index: 1<<64 - 1},
			{Kind: rdb.ElementModuleUint, Index: 1<<64 - 1},
			{Kind: rdb.ElementModuleFloat, Float: 0.5},
			{Kind: rdb.ElementModuleDouble, Float: -2},
			{Kind: rdb.ElementModuleString, Text: b("a\"b")},
		}, `{"module":"testtype-","encoding_version":3,"values":[{"signed":-1},{"unsigned":18446744073709551615},{"float":0.5},{"double":-2},{"string":"a\"b"}]}`},
		{"groups", rdb.Stream, []rdb.Element{
			{Kind: rdb.ElementStreamState, ID: id, Added: 2},
			{Kind: rdb.ElementGroup, Group: b("g"), ID: id},
			{Kind: rdb.ElementReleased, Group: b("g"), ID: id},
			{Kind: rdb.ElementGroup, Group: b("h"), ID: id},
			{Kind: rdb.ElementPending, Group: b("h"), ID: id, Time: 1, Count: 3},
			{Kind: rdb.ElementConsumer, Group: b("h"), Consumer: b("c")},
			{Kind: rdb.ElementHeld, Group: b("h"), Consumer: b("c"), ID: id},
			{Kind: rdb.ElementConsumer, Group: b("h"), Consumer: b("d")},
		}, `{"entries":[],"length":0,"last_id":"5-1","max_deleted_id":"0-0","entries_added":2,"groups":[` +
			`{"name":"g","last_delivered_id":"5-1","pending":[],"consumers":[],"released":["5-1"]},` +
			`{"name":"h","last_delivered_id":"5-1","pending":[{"id":"5-1","delivered":"1970-01-01T00:00:00.001Z","delivered_ms":1,"deliveries":3}],` +
			`"consumers":[{"name":"c","pending":["5-1"]},{"name":"d","pending":[]}],"released":[]}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := written(t, false, test.family, test.elements...); got != `{"value":`+test.want+`}` {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			var line bytes.Buffer
			if err := json.Compact(&line, []byte(written(t, true, test.family, test.elements...))); err != nil || line.String() != `{"value":`+test.want+`}` {
				t.Errorf("for a person: %v, %s", err, line.String())
			}
		})
	}
}

// TestValueInPieces cuts texts anywhere, also inside a character: the whole
// decides whether they are written as text.
func TestValueInPieces(t *testing.T) {
	pieces := func(text string, cut int) []rdb.Element {
		return []rdb.Element{
			{Kind: rdb.ElementList, Text: []byte(text[:cut]), More: true},
			{Kind: rdb.ElementList, Text: []byte(text[cut:])},
		}
	}
	for text, want := range map[string]string{
		"a€😀\"":        `"a€😀\""`,
		"a€😀\xf0":      `{"base64":"YeKCrPCfmIDw"}`,
		"\xe2\x82€":    `{"base64":"4oLigqw="}`,
		"\x9f\x98é":    `{"base64":"n5jDqQ=="}`,
		"\xed\xa0\x80": `{"base64":"7aCA"}`,
	} {
		for cut := range len(text) + 1 {
			elements := append(append(pieces(text, cut), rdb.Element{Kind: rdb.ElementList, Text: []byte("x")}), pieces("yé", 2)...)
			if got := written(t, false, rdb.List, elements...); got != `{"value":[`+want+`,"x","yé"]}` {
				t.Errorf("%q cut at %d: %s", text, cut, got)
			}
		}
	}
	// A field's name ends where its value begins, in the same piece or another.
	for _, elements := range [][]rdb.Element{
		{{Text: []byte("na"), More: true}, {Text: []byte("me"), Value: []byte("va"), More: true}, {Value: []byte("lue")}},
		{{Text: []byte("name"), Value: []byte{}, More: true}, {Value: []byte("value"), More: true}, {}},
		{{Text: []byte("n"), More: true}, {Text: []byte("ame"), Value: []byte("value")}},
	} {
		for i := range elements {
			elements[i].Kind = rdb.ElementField
		}
		if got := written(t, false, rdb.Hash, elements...); got != `{"value":[{"field":"name","value":"value"}]}` {
			t.Error(got)
		}
	}
}

// TestValueNobodyTakes: once the output is gone, the reading ends.
func TestValueNobodyTakes(t *testing.T) {
	gone := errors.New("gone")
	v := newValueWriter(&jsonWriter{out: bufio.NewWriter(goneWriter{gone})}, rdb.List, new(survey))
	err := v.add(&rdb.Element{Kind: rdb.ElementList, Text: []byte(strings.Repeat("x", 10_000))})
	if !errors.Is(err, gone) {
		t.Error(err)
	}
}

type goneWriter struct{ err error }

func (w goneWriter) Write([]byte) (int, error) { return 0, w.err }
