package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/progress"
)

// nameFolders gives the folders their names. It is the step that makes a seed
// one: it comes last, and takes no time.
func (r *run) nameFolders(ctx context.Context) error {
	names := r.folderNames()
	if r.held.whole == nil {
		if err := r.held.seal(ctx, names); err != nil {
			return full(err, r.ToDir)
		}
	}
	if r.Node > 0 {
		if err := r.nameOne(ctx, names[0]); err != nil {
			return err
		}
		names = nil
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		path := filepath.Join(r.ToDir, name)
		if slices.Contains(r.made, path) { // by the restore that was killed
			continue
		}
		if err := os.Rename(filepath.Join(r.held.staging(), name), path); err != nil {
			return fmt.Errorf("name a node's folder: %w", err)
		}
		r.made = append(r.made, path)
		r.Progress.Emit(progress.Event{Task: "restore", Phase: "name", Detail: name})
	}
	if err := r.held.end(); err != nil {
		return err
	}
	r.describeFolders()
	return nil
}

// describeFolders says what is where and how it is started.
func (r *run) describeFolders() {
	program := r.manifest.Server.Engine + "-server"
	for _, i := range r.seeds() {
		p := r.places[i]
		folder := Folder{Path: r.finalFolder(i), Address: p.addr(), Primary: p.primary, Shard: p.shard}
		if p.primary {
			folder.Keys = r.outcome.Shards[p.shard].Keys
		}
		args := []string{program, "--dir", folder.Path, "--port", fmt.Sprint(p.port), "--cluster-enabled", "yes"}
		switch {
		case r.AOF:
			args = append(args, setArgs(r.setOf(p.shard))...)
		case r.AppendOnly:
			args = append(args, "--appendonly", "yes")
		default:
			args = append(args, "--appendonly", "no")
		}
		if p.busPort != p.port+busOffset {
			args = append(args, "--cluster-port", fmt.Sprint(p.busPort))
		}
		if db := r.maxDB(p.shard); db > 0 {
			args = append(args, "--cluster-databases", fmt.Sprint(db+1))
		}
		folder.Start = strings.Join(args, " ")
		r.outcome.Folders = append(r.outcome.Folders, folder)
	}
	if r.reshaped() {
		r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("when the nodes run, compare: slotark verify %s --live --any-layout", r.manifest.ID))
	}
	if r.AOF {
		r.outcome.Notes = append(r.outcome.Notes, r.setNotes()...)
		return
	}
	if r.AppendOnly {
		r.outcome.Notes = append(r.outcome.Notes, "start every node with appendonly yes: with appendonly no a server does not read its append-only files, in which the data is", startPrimaries, giveSettings)
		return
	}
	r.outcome.Notes = append(r.outcome.Notes,
		"start every node with appendonly no: with appendonly yes a server does not read dump.rdb and later overwrites it; turn it on when all is loaded, with CONFIG SET appendonly yes",
		startPrimaries, giveSettings)
}

const (
	startPrimaries = "start the primaries first; the replicas copy their data from them"
	giveSettings   = "the dumps hold no configuration: give the nodes their passwords, ACL users and modules before they start"
)

// finalFolder is where a node's folder will be.
func (r *run) finalFolder(i int) string {
	if r.Node > 0 {
		return r.ToDir
	}
	return filepath.Join(r.ToDir, r.folderName(i))
}
