package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

// Intent is the record of a node's own value of RewriteSetting, written before
// it is set to 0: so that whoever finds it can put it back.
type Intent struct {
	Node     string    `json:"node"`    // node id
	Address  string    `json:"address"` // as announced
	Value    string    `json:"value"`   // the node's own
	Snapshot string    `json:"snapshot"`
	Begun    time.Time `json:"begun"`
}

const (
	// PrivatePrefix begins the name of the folder, in a node's data folder, that
	// holds the links and the record while a snapshot is taken.
	PrivatePrefix = ".slotark-aof-"
	intentName    = "intent.json"
	// backLimit bounds giving a node its value back, which is also done when the
	// run was interrupted.
	backLimit = 15 * time.Second
)

// rewriting is a node whose automatic rewrites are, or are about to be, off.
type rewriting struct {
	node  *cluster.Node
	value string // the node's own
	isOff bool
}

func (r *rewriting) off(ctx context.Context) error {
	r.isOff = true // also when the answer is lost
	if _, err := r.node.Do(ctx, "CONFIG", "SET", RewriteSetting, 0); err != nil {
		return hint.Add(fmt.Errorf("switch automatic rewrites off: %w", err), "give the user the ACL rule +config|set, or take the snapshot without --aof")
	}
	return nil
}

func (r *rewriting) back(ctx context.Context) error {
	if !r.isOff {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backLimit)
	defer cancel()
	if _, err := PutBack(ctx, r.node, r.value); err != nil {
		return hint.Left(fmt.Errorf("switch automatic rewrites of %s back on: %w", r.node.Addr(), err),
			fmt.Sprintf("The next snapshot does it; or run there: CONFIG SET %s %s", RewriteSetting, r.value))
	}
	r.isOff = false
	return nil
}

// PutBack gives a node its own value of RewriteSetting back. It tells whether
// that was needed: what is not 0 any more was set by somebody else and stays.
func PutBack(ctx context.Context, node *cluster.Node, value string) (bool, error) {
	now, err := setting(ctx, node, RewriteSetting)
	if err != nil || now != "0" || value == "0" {
		return false, err
	}
	_, err = node.Do(ctx, "CONFIG", "SET", RewriteSetting, value)
	return err == nil, err
}

func writeIntent(ctx context.Context, folder string, intent Intent) error {
	text, err := json.MarshalIndent(intent, "", "  ")
	if err == nil {
		_, err = atomicfile.Create(ctx, filepath.Join(folder, intentName), bytes.NewReader(append(text, '\n')))
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(folder))
	}
	if err != nil {
		return fmt.Errorf("record the value of %s: %w", RewriteSetting, err)
	}
	return nil
}

// Repair does what [RepairFolder] does for a node and its data folder as it is
// seen from here, and tells whether a run had left anything there. A folder
// without anything costs the node no question.
func Repair(ctx context.Context, access *cluster.Access, addr, dir string) (found bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, notHere(err)
	}
	if !slices.ContainsFunc(entries, private) {
		return false, nil
	}
	node := access.Open(addr)
	defer func() { _ = node.Close() }()
	text, err := node.Text(ctx, "CLUSTER", "NODES")
	if err != nil {
		return true, err
	}
	lines, err := cluster.ParseNodes(text)
	if err != nil {
		return true, err
	}
	for _, line := range lines {
		if line.Has("myself") {
			return true, RepairFolder(ctx, node, dir, line.ID)
		}
	}
	return true, fmt.Errorf("%s does not say which node it is", addr)
}

// RepairFolder puts in order what a run that died has left in a node's data
// folder: the node gets its own value back, and the links, which keep room
// taken, are removed. The folder of a run that is still under way is locked, and
// stays: its record is the only one where the repository's could not be read.
func RepairFolder(ctx context.Context, node *cluster.Node, dir, id string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return notHere(err)
	}
	for _, e := range entries {
		if !private(e) {
			continue
		}
		folder := filepath.Join(dir, e.Name())
		if err := repairOne(ctx, node, folder, id); err != nil {
			return fmt.Errorf("put %s in order: %w", folder, err)
		}
	}
	return nil
}

// private tells whether an entry of a data folder is one that a run has made.
func private(e fs.DirEntry) bool { return e.IsDir() && strings.HasPrefix(e.Name(), PrivatePrefix) }

func repairOne(ctx context.Context, node *cluster.Node, folder, id string) error {
	lock, err := lockFolder(folder)
	if inUse(err) || errors.Is(err, fs.ErrNotExist) {
		return nil // of a run under way, or of one that has just ended
	}
	if err == nil {
		defer func() { _ = lock.Close() }() // it is of a folder that is gone then
	}
	text, err := os.ReadFile(filepath.Join(folder, intentName))
	var intent Intent
	switch {
	case errors.Is(err, fs.ErrNotExist): // it died before it had changed anything
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(text, &intent); err != nil {
			return err
		}
		if intent.Node != id {
			return nil // of a node that shares the folder, or had it before
		}
		if _, err := PutBack(ctx, node, intent.Value); err != nil {
			return err
		}
	}
	return os.RemoveAll(folder)
}
