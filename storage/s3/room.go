package s3

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// So many bytes of parts of all the store's Puts together may wait for the
	// server, besides one part of each Put.
	sharedBytes = 24 * mib
	// Parts of this size are most of those there ever are; their memory is
	// used again.
	commonPart = 8 * mib
)

// room bounds the memory that one Put's parts take. One part is always
// granted, as soon as the one before it is sent: so no Put waits for another,
// which could wait for it, when both feed two stores in step. Further parts
// are granted where the store has room to share.
type room struct {
	own    *semaphore.Weighted
	shared *semaphore.Weighted
}

func newRoom(shared *semaphore.Weighted) *room {
	return &room{own: semaphore.NewWeighted(1), shared: shared}
}

// acquire waits for the room of one part and returns what gives it back.
func (r *room) acquire(ctx context.Context, bytes int64) (release func(), err error) {
	if r.shared.TryAcquire(bytes) {
		return func() { r.shared.Release(bytes) }, nil
	}
	if err := r.own.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { r.own.Release(1) }, nil
}

var partMemory = sync.Pool{New: func() any { return new([commonPart]byte) }}

// lend returns memory for a part, to be given to giveBack when it is sent.
func lend(bytes int64) []byte {
	if bytes == commonPart {
		return partMemory.Get().(*[commonPart]byte)[:]
	}
	return make([]byte, bytes)
}

func giveBack(memory []byte) {
	if cap(memory) == commonPart {
		partMemory.Put((*[commonPart]byte)(memory[:commonPart]))
	}
}
