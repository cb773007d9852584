package contract_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/contract"
	"github.com/slotark/slotark/storage/storagetest"
)

// A part of a store is as good a store as the whole.
func TestBelow(t *testing.T) {
	whole := storagetest.NewMemory("whole")
	storagetest.Put(t, whole, "elsewhere", []byte("x"))
	for _, c := range contract.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			part := contract.Below(whole, "checks/"+strings.ReplaceAll(c.Name, " ", "-"))
			if err := c.Run(t.Context(), part); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range storagetest.Names(t, whole, "") {
		if name != "elsewhere" && !strings.HasPrefix(name, "checks/") {
			t.Errorf("a check has put %s", name)
		}
	}
}

// broken is a store with one fault.
type broken struct {
	*storagetest.Memory
	fault string
}

func (b broken) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	switch b.fault {
	case "overwrites":
		_ = b.Memory.Delete(ctx, name)
	case "keeps halves":
		data, err := io.ReadAll(body)
		o, putErr := b.Memory.Put(ctx, name, bytes.NewReader(data))
		return o, errors.Join(err, putErr)
	case "loses bytes":
		o, err := b.Memory.Put(ctx, name, body)
		b.Memory.Change(name, func(data []byte) []byte { return data[:max(0, len(data)-1)] })
		return o, err
	}
	return b.Memory.Put(ctx, name, body)
}

func (b broken) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if b.fault == "ranges from the beginning" {
		offset = 0
	}
	return b.Memory.OpenAt(ctx, name, offset, length)
}

func (b broken) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	var all []storage.Object
	for o, err := range b.Memory.List(ctx, prefix) {
		if err != nil {
			return b.Memory.List(ctx, prefix)
		}
		all = append(all, o)
	}
	switch b.fault {
	case "one page":
		all = all[:min(len(all), 1000)]
	case "backwards":
		slices.Reverse(all)
	}
	return func(yield func(storage.Object, error) bool) {
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (b broken) Delete(ctx context.Context, name string) error {
	if b.fault == "deletes nothing" {
		_, err := b.Stat(ctx, name)
		return err
	}
	return b.Memory.Delete(ctx, name)
}

// TestChecksFindFaults breaks a line of the contract at a time.
func TestChecksFindFaults(t *testing.T) {
	for fault, finds := range map[string]string{
		"overwrites": "never overwrites", "keeps halves": "body error leaves nothing", "loses bytes": "whole object of each size",
		"ranges from the beginning": "ranges", "one page": "lists more than a page", "backwards": "lists in order", "deletes nothing": "deletes once",
	} {
		found := false
		for _, c := range contract.Checks() {
			if c.Name == finds {
				found = c.Run(t.Context(), broken{storagetest.NewMemory("broken"), fault}) != nil
			}
		}
		if !found {
			t.Errorf("%q does not find a store that %s", finds, fault)
		}
	}
}

// A store that knows no ranges is read from its beginning.
func TestOpenAtWithoutRanges(t *testing.T) {
	plain := struct{ storage.Store }{storagetest.NewMemory("plain")}
	for _, c := range contract.Checks() {
		if c.Name == "ranges" {
			if err := c.Run(t.Context(), plain); err != nil {
				t.Error(err)
			}
		}
	}
}

// decorated stands before a store and lets itself be looked through.
type decorated struct{ storage.Store }

func (d decorated) Unwrap() storage.Store { return d.Store }

func TestAs(t *testing.T) {
	memory := storagetest.NewMemory("m")
	if got, ok := storage.As[*storagetest.Memory](storage.Named{Name: "n", Store: decorated{memory}}); !ok || got != memory {
		t.Errorf("got %v %v", got, ok)
	}
	if _, ok := storage.As[contract.Eraser](decorated{memory}); ok {
		t.Error("it found what nobody can do")
	}
}
