package contract

import (
	"context"
	"time"
)

// Result is how one check of a store ended.
type Result string

// A store with a Fail must not be trusted with backups.
const (
	OK   Result = "ok"
	Warn Result = "warn"
	Fail Result = "fail"
)

// Finding is what one check of a store came to.
type Finding struct {
	Check   string
	Result  Result
	Detail  string
	Advice  string // what to do; "" where there is nothing
	Elapsed time.Duration
}

// Witness is a store that can tell of its place what no other kind has: room on
// a disk, versions and locks of a bucket.
type Witness interface {
	// Examine may put objects below a folder, whose names end with it when it
	// returns.
	Examine(ctx context.Context, folder string) []Finding
}

// Eraser is a store that keeps more of an object than Delete takes away:
// versions, unfinished uploads.
type Eraser interface {
	// Erase removes all that is left of the objects below a folder and returns
	// how many remain.
	Erase(ctx context.Context, folder string) (left int, err error)
}
