package rdb

import (
	"maps"
	"testing"
)

func TestEncodings(t *testing.T) {
	var some, other Encodings
	for _, typ := range []byte{typeString, typeZset, typeZset2, typeHashListpack} {
		some.Count(&Record{Type: typ})
	}
	other.Count(&Record{Type: typeHashListpack})
	other.Count(&Record{Type: 200})
	some.Add(&other)
	want := map[string]uint64{"string": 1, "zset skiplist": 2, "hash listpack": 2, "type 200": 1}
	if got := some.ByName(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
