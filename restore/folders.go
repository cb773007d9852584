package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slotark/slotark/internal/atomicfile"
)

// nameFolders gives the folders their names. It is the step that makes a seed
// one: it comes last, and takes no time.
func (r *run) nameFolders(ctx context.Context) error {
	for i := range r.places {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(r.ToDir, r.folderName(i))
		if err := os.Rename(filepath.Join(r.staging(), r.folderName(i)), path); err != nil {
			return fmt.Errorf("name a node's folder: %w", err)
		}
		r.made = append(r.made, path)
	}
	if err := errors.Join(os.Remove(r.staging()), atomicfile.SyncDir(r.ToDir)); err != nil {
		return fmt.Errorf("name the nodes' folders: %w", err)
	}
	r.describeFolders()
	return nil
}

// describeFolders says what is where and how it is started.
func (r *run) describeFolders() {
	program := r.manifest.Server.Engine + "-server"
	for i, p := range r.places {
		shard := r.manifest.Shards[p.shard]
		folder := Folder{Path: filepath.Join(r.ToDir, r.folderName(i)), Address: p.addr(), Primary: p.primary, Shard: p.shard}
		if p.primary {
			folder.Keys = shard.Dump.Keys
		}
		args := []string{program, "--dir", folder.Path, "--port", fmt.Sprint(p.port), "--cluster-enabled", "yes", "--appendonly", "no"}
		if p.busPort != p.port+busOffset {
			args = append(args, "--cluster-port", fmt.Sprint(p.busPort))
		}
		if shard.Dump.MaxDB > 0 {
			args = append(args, "--cluster-databases", fmt.Sprint(shard.Dump.MaxDB+1))
		}
		folder.Start = strings.Join(args, " ")
		r.outcome.Folders = append(r.outcome.Folders, folder)
	}
	r.outcome.Notes = append(r.outcome.Notes,
		"start every node with appendonly no: with appendonly yes a server does not read dump.rdb and later overwrites it; turn it on when all is loaded, with CONFIG SET appendonly yes",
		"start the primaries first; the replicas copy their data from them",
		"the dumps hold no configuration: give the nodes their passwords, ACL users and modules before they start")
}
