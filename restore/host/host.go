package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Node is one node that may be restored. It implements [restore.Host].
type Node struct {
	Addr   string // by which it is reached, and known
	Folder string // its data folder
	Names  Names  // of its files, where it does not run and tell them itself

	// Stop and Start are programs with their arguments, such as systemctl stop
	// redis. Each returns when it has done so, with status 0.
	Stop, Start []string
	// Patience is how long each may take, and how long the node may say nothing after
	// its start; 0 is two minutes. What it needs to save or to load its data is added.
	Patience time.Duration

	Access func() (*cluster.Access, error)
	// Find opens a snapshot, in a way that it can be read.
	Find func(ctx context.Context, id manifest.ID) (*catalog.Snapshot, error)

	mu sync.Mutex // one action at a time
}

var _ restore.Host = (*Node)(nil)

// Names are what a node calls its files, as its own configuration does.
type Names struct {
	Dump         string `json:"dbfilename"`
	Nodes        string `json:"cluster-config-file"`
	AppendFolder string `json:"appenddirname"`
	AppendFile   string `json:"appendfilename"`
	AppendOnly   bool   `json:"appendonly"` // it loads append-only files, and not a dump
}

// DefaultNames are a server's where its configuration does not say.
var DefaultNames = Names{Dump: "dump.rdb", Nodes: "nodes.conf", AppendFolder: "appendonlydir", AppendFile: "appendonly.aof"}

// Do implements [restore.Host].
func (n *Node) Do(ctx context.Context, action restore.HostAction, order restore.HostOrder, report progress.Func) (restore.HostState, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() != nil {
		return restore.HostState{}, context.Cause(ctx)
	}
	access, err := n.Access()
	if err != nil {
		return restore.HostState{}, err
	}
	w := &work{Node: n, HostOrder: order, access: access, node: access.Open(n.Addr), report: report}
	defer w.node.Close()
	err = w.read()
	if err == nil {
		w.running, err = w.names(ctx)
	}
	if err != nil {
		return restore.HostState{}, err
	}
	do := map[restore.HostAction]func(context.Context) error{
		restore.HostExamine: w.examine, restore.HostStage: w.stage, restore.HostStop: w.stop, restore.HostPlace: w.place,
		restore.HostStart: w.start, restore.HostBack: w.back, restore.HostClear: w.clear,
	}[action]
	if do == nil {
		return restore.HostState{}, fmt.Errorf("%q is no action of a restore", action)
	}
	if err := do(ctx); err != nil {
		return restore.HostState{}, full(err, n.Folder)
	}
	return w.state, nil
}

// work is one action under way.
type work struct {
	*Node
	restore.HostOrder
	access *cluster.Access
	node   *cluster.Node
	report progress.Func
	record record
	known  bool // there is a record
	// running is whether the node ran when the action began.
	running bool
	state   restore.HostState
}

// ours refuses what another restore has left, and says so before anything is touched.
func (w *work) ours() error {
	if !w.known || w.record.Restore == w.Restore {
		return nil
	}
	return hint.Refuse(fmt.Errorf("%s is of another restore, %s of snapshot %s", w.own(), w.record.Restore, w.record.Snapshot),
		"Go on with that one by its own command and --resume; or, when it has ended and what the node had before is not needed, remove the folder.")
}

// examine looks at the node and its folder.
func (w *work) examine(ctx context.Context) error {
	if err := w.usable(); err != nil {
		return err
	}
	if _, err := w.Find(ctx, w.Snapshot); err != nil { // nor could it be staged
		return err
	}
	free, err := freeIn(w.Folder)
	if err != nil {
		return fmt.Errorf("look at the node's folder: %w", err)
	}
	w.state = restore.HostState{Folder: w.Folder, Free: free, Running: w.running, AppendOnly: w.record.Names.AppendOnly}
	if w.known {
		w.state.Restore, w.state.Plan = w.record.Restore, w.record.Plan
	}
	for _, name := range w.record.Names.all() {
		if _, err := os.Lstat(filepath.Join(w.Folder, name)); err == nil {
			w.state.Files = append(w.state.Files, name)
		}
	}
	text, err := os.ReadFile(filepath.Join(w.Folder, w.record.Names.Nodes))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the node's folder: %w", err)
	}
	w.state.Nodes = string(text)
	return nil
}

// usable refuses a folder that nothing can be moved in.
func (w *work) usable() error {
	const advice = "Give the agent the node's data folder: snapshot.data_dirs in its configuration. It has to run as the user that the node runs as, or as root."
	info, err := os.Stat(w.Folder)
	switch {
	case err != nil:
		return hint.Refuse(fmt.Errorf("look at the node's folder: %w", err), advice)
	case !info.IsDir():
		return hint.Refuse(fmt.Errorf("%s is not a folder", w.Folder), advice)
	case !writable(w.Folder):
		return hint.Refuse(fmt.Errorf("nothing may be written in %s", w.Folder), advice)
	}
	return nil
}

// names finds out what the node calls its files, and whether it runs. A record that is
// there knows it from before the node was stopped.
func (w *work) names(ctx context.Context) (running bool, err error) {
	var info cluster.Info
	// One that is ending closes connections before it refuses them.
	_ = w.until(ctx, endingLimit, "", func(ctx context.Context) (bool, error) {
		info, err = w.node.Info(ctx, "server")
		return err == nil || down(err) || !errors.Is(err, cluster.ErrUnreachable), nil
	})
	switch {
	case down(err):
	case err != nil && !loading(err):
		return false, err // it may live, and not answer
	default:
		running = true
	}
	switch {
	case w.known:
		return running, nil
	case !running:
		w.record.Names = w.Names
		return false, nil
	}
	w.record.PID = int(info.Int("process_id"))
	w.record.Names, err = w.askNames(ctx)
	return true, err
}

// askNames asks a running node what it calls its files.
func (w *work) askNames(ctx context.Context) (Names, error) {
	names := DefaultNames
	appends := "no"
	for parameter, into := range map[string]*string{
		"dbfilename": &names.Dump, "cluster-config-file": &names.Nodes, "appenddirname": &names.AppendFolder, "appendfilename": &names.AppendFile, "appendonly": &appends,
	} {
		reply, err := w.node.Do(ctx, "CONFIG", "GET", parameter)
		if err != nil {
			return names, hint.Add(err, "An agent that restores a node asks it for the names of its files: give its user CONFIG GET (docs/access.md).")
		}
		// Before 7.0 some of them cannot be asked, and some do not exist.
		if pair, ok := reply.([]any); ok && len(pair) == 2 {
			*into = fmt.Sprint(pair[1])
		}
	}
	names.AppendOnly = appends == yesNo(true)
	for _, name := range names.all() {
		if name != filepath.Base(name) {
			return names, hint.Refuse(fmt.Errorf("%s has its file %s outside of its data folder", w.Addr, name), "Restore it by hand: slotark restore --to-dir.")
		}
	}
	return names, nil
}

// otherThan are the parameters that differ from others, with their values.
func (n Names) otherThan(other Names) (differ []string) {
	for _, p := range []struct{ name, value, other string }{
		{"dbfilename", n.Dump, other.Dump}, {"cluster-config-file", n.Nodes, other.Nodes}, {"appenddirname", n.AppendFolder, other.AppendFolder},
		{"appendfilename", n.AppendFile, other.AppendFile}, {"appendonly", yesNo(n.AppendOnly), yesNo(other.AppendOnly)},
	} {
		if p.value != p.other {
			differ = append(differ, p.name+" "+p.value)
		}
	}
	return differ
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// all are the names of what a node loads at its start.
func (n Names) all() []string { return []string{n.Dump, n.AppendFolder, n.AppendFile, n.Nodes} }

// stage seeds the node's data, beside what it has.
func (w *work) stage(ctx context.Context) error {
	if err := w.ours(); err != nil {
		return err
	}
	if done, err := w.placed(); done || err != nil {
		w.tell()
		return err
	}
	snapshot, err := w.Find(ctx, w.Snapshot)
	if err != nil {
		return err
	}
	if err := w.begin(ctx, snapshot.Manifest); err != nil {
		return err
	}
	if done, err := restore.Seeded(w.staged(), string(w.Restore), w.Snapshot, w.Place); done || err != nil {
		w.tell()
		return err
	}
	result, err := restore.Run(ctx, restore.Options{Snapshot: snapshot, ToDir: w.staged(), At: w.At, Zones: w.Zones, Layout: w.Layout, Replicas: w.Replicas,
		Node: w.Place, Name: string(w.Restore), AppendOnly: w.record.Names.AppendOnly && !w.AOF, AOF: w.AOF, Access: w.access, Resume: true, KeepPartial: true, Progress: w.report})
	if err != nil {
		return err
	}
	if err := owned(w.own(), w.Folder); err != nil {
		return fmt.Errorf("give what was seeded to the node's user: %w", err)
	}
	w.record.Keys, w.record.Bytes, w.record.Stores, w.record.Findings = result.Keys, result.Bytes, result.Shards[0].Stores, result.Findings
	w.tell()
	return w.write(ctx)
}

// tell puts into the answer what was staged.
func (w *work) tell() {
	w.state.Keys, w.state.Bytes, w.state.Stores, w.state.Findings = w.record.Keys, w.record.Bytes, w.record.Stores, w.record.Findings
}

// begin makes the restore's folder, with the record, unless it is there. What the node
// has must be such that it may be lost.
func (w *work) begin(ctx context.Context, m *manifest.Manifest) error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.known {
		return nil // it was looked at then, and is again before it is stopped
	}
	if err := w.mayLose(ctx, w.running, m); err != nil {
		return err
	}
	w.record.Restore, w.record.Plan, w.record.Snapshot, w.record.Ran = w.Restore, w.Plan, w.Snapshot, w.running
	if err := os.Mkdir(w.own(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the restore's folder: %w", err)
	}
	return w.write(ctx)
}

// mayLose refuses to touch a node that has something, unless the name of the
// snapshot's cluster was typed out. The coordinator has looked before; since then it
// may have been written to.
func (w *work) mayLose(ctx context.Context, running bool, m *manifest.Manifest) error {
	if w.Replacing.Name != "" {
		return w.Replacing.Check(m)
	}
	const advice = "Restore onto empty nodes. Where what these hold may be lost: --replace with the name of the snapshot's cluster."
	if !running {
		for _, name := range w.record.Names.all() {
			if _, err := os.Lstat(filepath.Join(w.Folder, name)); err == nil {
				return hint.Refuse(fmt.Errorf("%s does not run, and has %s in %s", w.Addr, name, w.Folder), advice)
			}
		}
		return nil
	}
	keys, err := w.node.Int(ctx, "DBSIZE")
	if err == nil && keys > 0 {
		err = hint.Refuse(fmt.Errorf("%s holds %s", w.Addr, human.Plural(keys, "key")), advice)
	}
	return err
}
