package main

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/snapshot/manifest"
)

// The messages that --json prints. What show --key prints is written as it is
// read: TestShowKey holds that against its document.
var jsonMessages = map[string]any{
	"append_only": appendOnlyMessage{}, "comparison": comparisonMessage{}, "diff": diffMessage{}, "doctor": doctorMessage{}, "doctor_finding": doctorFindingMessage{}, "drill": drillMessage{}, "exit_error": exitError{},
	"file": fileMessage{}, "fingerprint": fingerprintMessage{}, "folder": folderFoundMessage{}, "hold": holdMessage{},
	"mirror_copy": mirrorCopyMessage{}, "mirror_status": mirrorStatusMessage{}, "mirror_sync": mirrorSyncMessage{},
	"storage_check": storageFinding{}, "upload": uploadMessage{},
	"manifest": showMessage{}, "prune": pruneSummary{}, "resealed": resealedMessage{}, "restore": restoreMessage{}, "restore_part": partMessage{}, "restore_plan": planMessage{},
	"retention": retentionMessage{}, "seeded": seededMessage{}, "settings": settingsMessage{}, "slot": slotMessage{}, "snapshot": snapshotMessage{}, "snapshot_entry": entryMessage{},
	"verification": verificationMessage{}, "verify_error": verifyErrorMessage{}, "verify_summary": verifySummaryMessage{},
	"version": versionMessage{},
}

// docs/json.md names every message and every field of it, in the paragraph of
// that message or among the parts that messages share, and no message else.
func TestJSONIsDocumented(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed, rest, _ := strings.Cut(string(data), "## Shared parts")
	shared, paragraphs, found := strings.Cut(rest, "## Messages")
	if !found {
		t.Fatal("docs/json.md has no shared parts, or no messages")
	}

	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(listed, -1) {
		rows = append(rows, row[1])
	}
	slices.Sort(rows)
	want := slices.Sorted(maps.Keys(jsonMessages))
	if want = append(want, "key"); !slices.Equal(rows, slices.Sorted(slices.Values(want))) {
		t.Errorf("docs/json.md lists %q, there are %q", rows, want)
	}

	for message, value := range jsonMessages {
		text := shared
		for paragraph := range strings.SplitSeq(paragraphs, "\n\n") {
			if strings.Contains(paragraph, "`"+message+"`:") {
				text += paragraph
			}
		}
		for _, field := range jsonFields(reflect.TypeOf(value)) {
			if field != "message_type" && !strings.Contains(text, "`"+field+"`") && !strings.Contains(text, `"`+field+`"`) {
				t.Errorf("docs/json.md does not tell of %s's field %s", message, field)
			}
		}
	}
}

// Every message in the source is among those that are held against the document.
func TestJSONMessagesAreListed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("json:\"message_type\"` // \"([a-z_]+)\"")
	var names []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range named.FindAllSubmatch(source, -1) {
			names = append(names, string(match[1]))
		}
	}
	slices.Sort(names)
	if want := slices.Sorted(maps.Keys(jsonMessages)); !slices.Equal(names, want) {
		t.Errorf("the source has the messages %q, held against the document are %q", names, want)
	}
}

// jsonFields are the names of a type's fields and of theirs. The manifest's are
// in a document of its own.
func jsonFields(typ reflect.Type) []string {
	for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Array}, typ.Kind()) {
		typ = typ.Elem()
	}
	switch typ {
	case reflect.TypeFor[manifest.Manifest](), reflect.TypeFor[manifest.Seal](), reflect.TypeFor[manifest.Settings]():
		return nil
	}
	if typ.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
		if field.Anonymous || name != "" {
			names = append(names, jsonFields(field.Type)...)
		}
	}
	return names
}
