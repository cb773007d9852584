package part

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/rdb"
)

// Format is how keys are written to a file.
type Format string

const (
	// RDB is a dump that a server loads at its start.
	RDB Format = "rdb"
	// RESP are RESTORE commands, as redis-cli --pipe sends them to one server.
	RESP Format = "resp"
)

// valkeyRDB is the first version of the format that has Valkey's magic.
const valkeyRDB = 80

// Write writes keys of a snapshot to a file. A dump has those that have expired,
// too: the server that loads it leaves them out by its own clock. As commands they
// are left out here. With Replace the commands take the place of what is there.
func Write(ctx context.Context, o Options, to io.Writer, format Format) (*Result, error) {
	started := clock.Now()
	s, release, err := begin(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer release()
	switch format {
	case RDB:
		err = s.writeRDB(ctx, to)
	case RESP:
		err = s.writeRESP(ctx, to)
	default:
		err = fmt.Errorf("%q is no format of a file: want rdb or resp", format)
	}
	if err != nil {
		return nil, err
	}
	s.result.Elapsed = clock.Since(started)
	return &s.result, nil
}

// header is that of a dump of which records of every shard may be part: types of
// values are only ever added.
func (s *source) header() (rdb.Header, error) {
	lowest, highest := 0, 0
	for i, shard := range s.Snapshot.Manifest.Shards {
		if _, ok := s.proved[i]; !ok {
			continue
		}
		version := shard.Dump.RDBVersion
		if highest = max(highest, version); lowest == 0 || version < lowest {
			lowest = version
		}
	}
	switch {
	case highest < valkeyRDB:
		return rdb.Header{Engine: "redis", Version: highest}, nil
	case lowest >= valkeyRDB || lowest < 12: // before they parted
		return rdb.Header{Engine: "valkey", Version: highest}, nil
	}
	return rdb.Header{}, hint.Refuse(fmt.Errorf("dumps of versions %d and %d cannot become one: one is Redis's, one Valkey's", lowest, highest),
		"Take the keys of one shard at a time: --slots; or as commands: --format resp.")
}

func (s *source) writeRDB(ctx context.Context, to io.Writer) error {
	header, err := s.header()
	if err != nil {
		return err
	}
	m := s.Snapshot.Manifest
	dump := rdb.NewWriter(to, header)
	name := "redis-ver"
	if header.Engine == "valkey" {
		name = "valkey-ver"
	}
	dump.Aux(name, m.Server.Version)
	dump.Aux("redis-bits", "64")
	dump.Aux("ctime", strconv.FormatInt(m.Started.Unix(), 10))
	err = s.each(ctx, func(it *item) error {
		if it == nil {
			return nil
		}
		s.result.Written++
		dump.Key(&it.Record)
		_, err := dump.Write(it.value)
		return err
	})
	if err != nil {
		return err
	}
	return dump.Close()
}

func (s *source) writeRESP(ctx context.Context, to io.Writer) error {
	w := bufio.NewWriter(to)
	db, now := 0, clock.Now().UnixMilli()
	return s.each(ctx, func(it *item) error {
		if it == nil {
			return w.Flush()
		}
		// RESTORE takes 0 for "no expiry", and deletes what is there for one that has
		// passed.
		if it.HasExpiry && it.ExpireAt <= now {
			s.result.Expired++
			return nil
		}
		if it.DB != db {
			db = it.DB
			if _, err := w.Write(cluster.AppendCommand(w.AvailableBuffer(), "SELECT", db)); err != nil {
				return err
			}
		}
		s.result.Written++
		_, err := w.Write(cluster.AppendCommand(w.AvailableBuffer(), it.restore(s.Existing == Replace)...))
		return err
	})
}
