package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// settings verifies the settings in one store: a snapshot that has none is none
// the worse.
func (r *Report) settings(ctx context.Context, o Options, copied *catalog.Snapshot, store storage.Named) error {
	file := o.Snapshot.Manifest.Settings
	if file == (manifest.File{}) {
		return nil
	}
	r.Objects++
	check := &shardCheck{Options: o, snapshot: copied, store: store, result: &ShardResult{Store: store.Name}}
	check.exists(ctx, file)
	if len(check.result.Findings) == 0 && o.Level != Exists {
		r.Read += file.Bytes
		check.settings(ctx, file)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.add(check.result.Findings...)
	return nil
}

// settings reads the settings and holds them against the manifest.
func (c *shardCheck) settings(ctx context.Context, file manifest.File) {
	var text []byte
	whole := c.object(ctx, file, func(plain io.Reader) (err error) {
		text, err = io.ReadAll(plain)
		return err
	})
	if !whole || !c.Level.Inspects() {
		return
	}
	m := c.snapshot.Manifest
	read, err := manifest.DecodeSettings(bytes.NewReader(text))
	if err == nil {
		err = settingsOf(m, read)
	}
	if err != nil {
		c.report("settings", file, "%s", err)
	}
}

// settingsOf checks that settings are of a manifest's cluster.
func settingsOf(m *manifest.Manifest, s *manifest.Settings) error {
	if s.Cluster != m.Cluster {
		return fmt.Errorf("they are of cluster %s, the manifest says %s", s.Cluster, m.Cluster)
	}
	same := slices.EqualFunc(s.Nodes, m.Topology.Nodes, func(a manifest.NodeSettings, b manifest.Node) bool {
		return a.Node == b.ID && a.Role == b.Role
	})
	if !same {
		return fmt.Errorf("they are of %d nodes that are not the %d of the manifest", len(s.Nodes), len(m.Topology.Nodes))
	}
	for _, shard := range s.Shards {
		if !slices.ContainsFunc(m.Shards, func(of manifest.Shard) bool { return of.Slots == shard.Slots && of.Primary == shard.Primary }) {
			return fmt.Errorf("they have the functions of shard %s, which the manifest does not have", shard.Slots)
		}
	}
	return nil
}

// ReadSettings reads the settings of a snapshot from the first store whose copy
// is whole. A snapshot without has nil.
func ReadSettings(ctx context.Context, s *catalog.Snapshot) (*manifest.Settings, error) {
	file := s.Manifest.Settings
	if file == (manifest.File{}) {
		return nil, nil
	}
	var read *manifest.Settings
	err := inAnyStore(ctx, s, func(copied *catalog.Snapshot) error {
		body, err := copied.Open(ctx, file)
		if err != nil {
			return err
		}
		read, err = manifest.DecodeSettings(body)
		if err == nil {
			err = settingsOf(s.Manifest, read)
		}
		if closed := body.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Object(file.Object), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return read, nil
}
