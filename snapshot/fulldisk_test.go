package snapshot_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/collect"
)

// onDisks is a program that runs a server with a small disk of its own mounted at
// the folder "disk" below the one it starts in.
func onDisks(t *testing.T) string {
	t.Helper()
	server, err := redisproc.Find()
	if err != nil {
		t.Fatal(err)
	}
	unshare := "unshare -m"
	if os.Geteuid() != 0 {
		unshare += " -r"
	}
	script := fmt.Sprintf(`#!/bin/sh
mkdir -p disk
exec %s sh -c 'mount -t tmpfs -o size=8m,mode=0700 tmpfs disk && exec "$@"' sh %s "$@"
`, unshare, server)
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// diskOf is where a node's disk is seen from here: it is mounted for it alone.
func diskOf(n *clustertest.Node) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", n.Proc.PID()), n.Proc.Dir(), "disk")
}

// TestNodesDiskIsFull fills the disk that a node saves to: a replica's does no
// harm, for the primary gives the dump; where both are full there is none, and
// nothing is left.
func TestNodesDiskIsFull(t *testing.T) {
	t.Parallel()
	p := newPlant(t, clustertest.Options{Replicas: 3, Binary: onDisks(t),
		ExtraArgs: []string{"--dir", "disk", "--cluster-config-file", "../nodes.conf"}})
	shards := p.shards(t)
	folders := map[string]string{}
	for _, n := range p.Nodes {
		folders[n.Addr()] = diskOf(n)
	}
	options := snapshot.Options{Collect: snapshot.CollectBgsave, Folders: folders, Tries: 3}
	fill := func(id string) {
		file, err := os.Create(filepath.Join(diskOf(p.node(t, id)), "filler"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = file.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		file.Close()
	}
	fill(shards[1].Replicas[0].ID)
	r, err := p.take(t, shards, trial{options: options})
	if err != nil {
		t.Fatal(err)
	}
	wantRetried(t, r, "the node could not save")
	if got := r.Manifest.Shards[1].Source; got.Role != "primary" {
		t.Errorf("its dump is of %+v", got)
	}
	fill(shards[1].Primary.ID)
	_, err = p.take(t, shards, trial{options: options})
	if !errors.Is(err, collect.ErrCannotSave) || !strings.Contains(err.Error(), "try 3, the last") {
		t.Errorf("got %v, want ErrCannotSave at the third try", err)
	}
}
