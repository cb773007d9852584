package contract

import (
	"context"
	"io"
	"iter"
	"strings"

	"github.com/slotark/slotark/storage"
)

// below is the part of a store whose names start with a prefix.
type below struct {
	storage.Store
	prefix string // ends in "/"
}

// Below returns the part of a store below a folder, as a store of its own.
func Below(s storage.Store, folder string) storage.Store { return &below{s, folder + "/"} }

func (b *below) trimmed(o storage.Object) storage.Object {
	o.Name = strings.TrimPrefix(o.Name, b.prefix)
	return o
}

// Put implements [storage.Store].
func (b *below) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	o, err := b.Store.Put(ctx, b.prefix+name, body)
	return b.trimmed(o), err
}

// Open implements [storage.Store].
func (b *below) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return b.Store.Open(ctx, b.prefix+name)
}

// OpenAt implements [storage.RangeOpener] as far as the store below does.
func (b *below) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return storage.OpenAt(ctx, b.Store, b.prefix+name, offset, length)
}

// Stat implements [storage.Store].
func (b *below) Stat(ctx context.Context, name string) (storage.Object, error) {
	o, err := b.Store.Stat(ctx, b.prefix+name)
	return b.trimmed(o), err
}

// List implements [storage.Store].
func (b *below) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for o, err := range b.Store.List(ctx, b.prefix+prefix) {
			if !yield(b.trimmed(o), err) {
				return
			}
		}
	}
}

// Delete implements [storage.Store].
func (b *below) Delete(ctx context.Context, name string) error {
	return b.Store.Delete(ctx, b.prefix+name)
}
