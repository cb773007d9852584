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
	Size       int64     // bytes; -1 where the node does not say (a diskless sync)
	NotBefore  time.Time // the node's clock when it was asked, whole seconds: no fresh dump is older
	Forked     time.Time // when the node forked, on our clock, within a round trip
	ReplID     string    // replication id of the node
	ReplOffset int64     // replication offset, bytes
	Exact      bool      // the offset is the dump's own; otherwise it was read just before the fork
	AOF        *AOFSet   // where it was asked for; the caller closes it
}
