package storagetest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/internal/source"
)

// Memory is a store in memory.
type Memory struct {
	name    string
	mu      sync.Mutex
	objects map[string]memoryObject
}

type memoryObject struct {
	data     []byte
	modified time.Time
}

// NewMemory returns an empty store; name tells it from others in messages.
func NewMemory(name string) *Memory {
	return &Memory{name: name, objects: map[string]memoryObject{}}
}

// String implements [storage.Store].
func (m *Memory) String() string { return "memory://" + m.name }

func (m *Memory) fail(verb, name string, err error) error {
	return fmt.Errorf("%s %s in %s: %w", verb, name, m, err)
}

// Put implements [storage.Store].
func (m *Memory) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if err := storage.CheckName(name); err != nil {
		return storage.Object{}, m.fail("put", name, err)
	}
	data, err := io.ReadAll(source.New(ctx, body))
	if err != nil {
		return storage.Object{}, m.fail("put", name, err)
	}
	if ctx.Err() != nil {
		return storage.Object{}, m.fail("put", name, context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.objects[name]; taken {
		return storage.Object{}, m.fail("put", name, storage.ErrExists)
	}
	object := memoryObject{data, clock.Now()}
	m.objects[name] = object
	return storage.Object{Name: name, Bytes: int64(len(data)), Modified: object.modified}, nil
}

func (m *Memory) find(ctx context.Context, verb, name string) (memoryObject, error) {
	if err := storage.CheckName(name); err != nil {
		return memoryObject{}, m.fail(verb, name, err)
	}
	if ctx.Err() != nil {
		return memoryObject{}, m.fail(verb, name, context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	object, found := m.objects[name]
	if !found {
		return memoryObject{}, m.fail(verb, name, storage.ErrNotFound)
	}
	return object, nil
}

// Open implements [storage.Store].
func (m *Memory) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := m.find(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader(string(object.data))), nil
}

// OpenAt implements [storage.RangeOpener].
func (m *Memory) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	object, err := m.find(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	if err := storage.CheckRange(offset, length, int64(len(object.data))); err != nil {
		return nil, m.fail("open a part of", name, err)
	}
	return io.NopCloser(strings.NewReader(string(object.data[offset : offset+length]))), nil
}

// Stat implements [storage.Store].
func (m *Memory) Stat(ctx context.Context, name string) (storage.Object, error) {
	object, err := m.find(ctx, "stat", name)
	if err != nil {
		return storage.Object{}, err
	}
	return storage.Object{Name: name, Bytes: int64(len(object.data)), Modified: object.modified}, nil
}

// List implements [storage.Store].
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		m.mu.Lock()
		names := slices.Sorted(maps.Keys(m.objects))
		m.mu.Unlock()
		for _, name := range names {
			if ctx.Err() != nil {
				yield(storage.Object{}, m.fail("list", prefix, context.Cause(ctx)))
				return
			}
			object, err := m.Stat(ctx, name)
			if err != nil || !strings.HasPrefix(name, prefix) {
				continue
			}
			if !yield(object, nil) {
				return
			}
		}
	}
}

// Delete implements [storage.Store].
func (m *Memory) Delete(ctx context.Context, name string) error {
	if _, err := m.find(ctx, "delete", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// Change replaces an object's bytes, which no store may do: it plays the disk
// or the person that damages a backup.
func (m *Memory) Change(name string, change func([]byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	object := m.objects[name]
	object.data = change(slices.Clone(object.data))
	m.objects[name] = object
}
