package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slotark/slotark/storage"
)

func TestCheckName(t *testing.T) {
	valid := []string{"a", "slotark.json", "prod/snapshots/20260131T020000Z-x7k2p9/shard-0/dump.rdb", "...", "a b/é", ".hidden"}
	for _, name := range valid {
		if err := storage.CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	invalid := map[string]string{
		"empty": "", "absolute": "/a", "folder": "a/", "empty element": "a//b", "here": "a/./b", "up": "../a",
		"up later": "a/../../b", "nul": "a\x00b", "newline": "a\nb", "not utf-8": "a\xff",
		"long element": strings.Repeat("x", 256), "long": strings.Repeat("x/", 500) + "x",
	}
	for what, name := range invalid {
		if err := storage.CheckName(name); !errors.Is(err, storage.ErrName) {
			t.Errorf("%s: CheckName(%q) = %v, want ErrName", what, name, err)
		}
	}
}
