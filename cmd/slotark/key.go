package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/verify"
	"github.com/spf13/cobra"
)

// keyFlags say which key of a snapshot to show.
type keyFlags struct {
	name, base64 string
	db           int
}

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "key", "", "print this key's value as JSON")
	cmd.Flags().StringVar(&f.base64, "key-base64", "", "as --key, for a name that is no text: in base64")
	cmd.Flags().IntVar(&f.db, "db", 0, "the database that the key is in")
}

// key is the name of the key that was asked for. An empty name is a name too.
func (f *keyFlags) key(cmd *cobra.Command) (key []byte, given bool, err error) {
	is := cmd.Flags().Changed
	switch {
	case is("key") && is("key-base64"), (is("key") || is("key-base64")) && is("slots"):
		return nil, false, usageError{errors.New("want one of --key, --key-base64 and --slots")}
	case is("db") && !is("key") && !is("key-base64"):
		return nil, false, usageError{errors.New("--db goes with --key or --key-base64")}
	case f.db < 0:
		return nil, false, usageError{fmt.Errorf("--db %d: want a database's number", f.db)}
	case is("key"):
		return []byte(f.name), true, nil
	case is("key-base64"):
		if key, err = base64.StdEncoding.DecodeString(f.base64); err != nil {
			return nil, false, usageError{fmt.Errorf("--key-base64 %q: want base64: %w", f.base64, err)}
		}
		return key, true, nil
	}
	return nil, false, nil
}

// outputBuffer is how much of a value is written at once.
const outputBuffer = 64 << 10

// runShowKey prints one key's value, element by element as it is read.
func runShowKey(ctx context.Context, a *app, cmd *cobra.Command, ref string, key []byte, db int) error {
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return err
	}
	_, snapshot, err := s.find(ctx, ref)
	if err != nil {
		return err
	}
	if err := s.unlock(a, snapshot); err != nil {
		return err
	}
	show := newDisplay(a.terminal, a.json)
	defer show.Close()
	out := bufio.NewWriterSize(a.stdout, outputBuffer)
	var texts *survey
	var value *valueWriter
	err = verify.ReadKey(ctx, verify.KeyOptions{
		Snapshot: snapshot, DB: db, Key: key, Progress: show.Func(),
		Warn: func(err error) { fmt.Fprintf(a.stderr, "slotark: warning: %s\n", oneLine(err)) },
		Survey: func() func(*rdb.Element) error {
			texts = new(survey)
			return texts.add
		},
		Show: func(k *verify.Key) func(*rdb.Element) error {
			w := &jsonWriter{out: out, pretty: !a.json}
			w.open('{')
			if a.json {
				w.name("message_type")
				w.string("key")
			}
			w.keyFacts(string(snapshot.Manifest.ID), k)
			value = newValueWriter(w, k.Family, texts)
			return value.add
		},
	})
	if err == nil {
		// Only what was read to its end is a whole object.
		value.finish()
		_, err = out.WriteString("\n")
	}
	return errors.Join(err, out.Flush())
}

// keyFacts writes what there is to know of a key but its value.
func (w *jsonWriter) keyFacts(snapshot string, k *verify.Key) {
	w.name("snapshot")
	w.string(snapshot)
	w.name("key")
	w.text(k.Key)
	w.name("db")
	w.number(k.DB)
	w.name("slot")
	w.number(k.Slot)
	w.name("shard")
	w.string(k.Shard.String())
	w.name("store")
	w.string(k.Store)
	w.name("type")
	w.string(k.Family.String())
	w.name("encoding")
	w.string(k.TypeName)
	w.name("rdb_type")
	w.number(k.Type)
	if k.HasExpiry {
		w.instant("expires", k.ExpireAt)
	}
	w.name("bytes")
	w.number(k.ValueLen)
	w.name("digest")
	w.string(k.Digest.String())
	w.name("value")
}
