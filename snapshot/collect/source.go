package collect

import (
	"io"
	"time"
)

// Source is one dump on its way out of a node. Reading gives the dump's bytes;
// a connection or a file cut short is an error, never an io.EOF. The caller
// closes it.
type Source struct {
	io.ReadCloser
	Size       int64     // bytes; -1 where that is not known yet: the node does not say (a diskless sync), or still writes
	NotBefore  time.Time // the node's clock when it was asked, whole seconds: no fresh dump is older
	ForkedBy   time.Time // the node's clock once it had forked; zero where that was not asked for
	Forked     time.Time // when the node forked, on our clock, within a round trip
	ReplID     string    // replication id of the node
	ReplOffset int64     // replication offset, bytes
	Exact      bool      // the offset is the dump's own; otherwise it was read just before the fork
	// Saved is closed once the node has no child any more that writes the dump. It
	// is nil where there was none left when the source was made, or where only the
	// last byte tells (a stream).
	Saved <-chan struct{}
	AOF   *AOFSet // where it was asked for; the caller closes it
}
