package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
)

const (
	dumpName  = "dump.rdb"
	nodesName = "nodes.conf"
	// stagingName is where folders stand until all are whole. Its name says
	// what it is to whoever finds it after a power cut.
	stagingName = ".slotark-incomplete"
	recordName  = "restore.json"
	wholeName   = "whole.json"
	// A staging folder can vanish between two looks at it, when the restore it
	// belongs to ends. So often that is not met in a row.
	takeAttempts = 16
	// 10,000 nodes take less.
	maxRecordBytes = 4 << 20
)

// record says whose unfinished work a staging folder holds. Its file is locked
// by the restore for as long as it lives: the kernel ends the lock with the
// process, however that ends.
type record struct {
	Snapshot manifest.ID `json:"snapshot"`
	Host     string      `json:"host"`
	PID      int         `json:"pid"`
	Begun    time.Time   `json:"begun"`
	// Locked tells that the file system has locks. Without, nobody can tell
	// whether the process is alive.
	Locked bool `json:"locked"`
	// Folders are the names that the nodes' folders will have.
	Folders []string `json:"folders"`
	// Node is the id of the one node that is seeded, where the target folder is to
	// be its own: what is in its folder then moves into that.
	Node string `json:"node,omitempty"`
	// Plan names all that decides what is in them.
	Plan string `json:"plan"`
}

func (r *record) String() string {
	return fmt.Sprintf("restore of %s, begun %s by process %d on %s", r.Snapshot, human.Moment(r.Begun), r.PID, r.Host)
}

// unfinished is the staging folder of a target folder, held by this process.
type unfinished struct {
	dir    string // the target folder
	node   string // as in the record
	resume bool   // whoever asks says that the restore before is over
	file   *os.File
	locked bool
	before *record // that of a restore which was killed; nil where there is none
	whole  stamps  // that restore's; nil where it did not come so far
}

func (u *unfinished) staging() string { return filepath.Join(u.dir, stagingName) }

// errBusy is the target folder of a restore that is alive.
var errBusy = errors.New("another restore into this folder is under way")

// lookInto finds out whether a folder can be seeded: it is empty, or not there,
// or holds nothing but what a restore has left that was killed. It changes
// nothing. With resume it is enough that whoever asks says that the restore is over,
// where nobody can tell.
func lookInto(dir, node string, resume bool) error {
	entries, err := entriesOf(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ENOTDIR):
		return hint.Refuse(fmt.Errorf("%s is not a folder", dir), "give a new or an empty folder")
	case err != nil:
		return fmt.Errorf("look into the target folder: %w", err)
	case len(entries) == 0:
		return nil
	}
	u := &unfinished{dir: dir, node: node, resume: resume}
	err = u.lock(os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return u.leftAlone()
	}
	if err != nil {
		return err
	}
	return errors.Join(u.examine(), u.close())
}

// take makes the staging folder and holds it. What a restore that was killed
// has left is removed first, unless that was of the same plan.
func take(dir, node, plan string, resume bool) (*unfinished, error) {
	u := &unfinished{dir: dir, node: node, resume: resume}
	for range takeAttempts {
		err := os.Mkdir(u.staging(), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the target folder: %w", err)
		}
		if err = u.lock(os.O_RDWR | os.O_CREATE); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = u.examine()
		}
		if err == nil && !u.goesOn(plan) {
			err = u.clear()
		}
		if err != nil {
			return nil, errors.Join(err, u.leave())
		}
		return u, nil
	}
	return nil, hint.Refuse(fmt.Errorf("%s: %w", dir, errBusy), "give another folder, or wait for it")
}

// lock opens the record and locks it, and makes sure that it is still the one
// that stands there.
func (u *unfinished) lock(flags int) error {
	path := filepath.Join(u.staging(), recordName)
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return fmt.Errorf("look into the target folder: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		whose := ""
		if r := readRecord(f); r != nil {
			whose = ": " + r.String()
		}
		return errors.Join(hint.Refuse(fmt.Errorf("%s: %w%s", u.dir, errBusy, whose), "give another folder, or wait for it"), f.Close())
	default: // a file system without locks is none that cannot be restored to
		u.locked = err == nil
	}
	held, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(held, now) {
		return errors.Join(fs.ErrNotExist, f.Close())
	}
	u.file = f
	return nil
}

// readRecord is nil where there is none, or none that was written to its end.
func readRecord(f *os.File) *record {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxRecordBytes))
	r := new(record)
	if err != nil || json.Unmarshal(text, r) != nil || r.Snapshot == "" {
		return nil
	}
	return r
}

// goesOn tells whether what is there was left by a restore of the same plan.
func (u *unfinished) goesOn(plan string) bool { return u.before != nil && u.before.Plan == plan }

// examine finds whatever in the target folder is not the unfinished work of a
// restore that is over. The record is locked.
func (u *unfinished) examine() error {
	u.before = readRecord(u.file)
	r := u.before
	if r == nil { // killed before it wrote anything
		r = new(record)
	}
	// An orchestrator runs one pod for a node's folder at a time, wherever it does.
	sameNode := u.node != "" && u.node == r.Node
	if host, err := os.Hostname(); u.before != nil && !u.resume && (err != nil || host != r.Host && !sameNode || !r.Locked || !u.locked) {
		return hint.Refuse(fmt.Errorf("%s holds what an unfinished %s left, and from here nobody can tell whether it is alive", u.dir, r),
			"If it is not: the same command with --resume goes on.")
	}
	entries, err := entriesOf(u.dir)
	if err == nil {
		u.whole, err = readStamps(u.staging())
	}
	if err != nil {
		return fmt.Errorf("look into the target folder: %w", err)
	}
	ours := map[string]bool{}
	for _, name := range r.Folders {
		ours[name] = true
	}
	for _, e := range entries {
		switch {
		case e.Name() == stagingName:
			err = u.examineStaging(ours)
		case u.whole != nil && r.Node != "" && len(r.Folders) == 1:
			err = onlySeed(filepath.Join(u.dir, e.Name()), r.Folders[0], e.Name(), u.whole)
		case u.whole == nil || !ours[e.Name()]:
			err = notEmpty(u.dir, e.Name(), len(entries)-1)
		default:
			err = onlySeed(filepath.Join(u.dir, e.Name()), e.Name(), ".", u.whole)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unfinished) examineStaging(ours map[string]bool) error {
	entries, err := os.ReadDir(u.staging())
	if err != nil {
		return fmt.Errorf("look into the target folder: %w", err)
	}
	for _, e := range entries {
		switch {
		case e.Name() == recordName || e.Name() == wholeName || isEntry(e.Name()) || atomicfile.IsTemp(e.Name()):
		case !ours[e.Name()]:
			return foreign(filepath.Join(u.staging(), e.Name()))
		default:
			if err := onlySeed(filepath.Join(u.staging(), e.Name()), e.Name(), ".", nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostName is a folder that a file system makes for itself at its root.
const lostName = "lost+found"

// entriesOf is what is in a target folder.
func entriesOf(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	return slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.Name() == lostName && e.IsDir() }), err
}

func foreign(path string) error {
	return hint.Refuse(fmt.Errorf("%s was not left by the restore that was killed here", path), "Look at it; then remove it, or give another folder.")
}

// notEmpty is the refusal of a folder that holds something.
func notEmpty(dir, what string, others int) error {
	more := ""
	if others > 0 {
		more = fmt.Sprintf(" and %d more", others)
	}
	return hint.Refuse(fmt.Errorf("%s is not empty: it holds %s%s", dir, what, more), "give a new or an empty folder; nothing is ever overwritten")
}

// leftAlone is about a folder that holds something and no record. A restore that
// is killed in its last step, or its first, leaves only an empty staging folder.
func (u *unfinished) leftAlone() error {
	entries, err := entriesOf(u.dir)
	if err != nil {
		return fmt.Errorf("look into the target folder: %w", err)
	}
	others := slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.Name() == stagingName })
	left, err := os.ReadDir(u.staging())
	switch ended := len(left) == 0 || len(left) == 1 && left[0].Name() == wholeName; {
	case len(others) == 0 && (err != nil || len(left) > 0):
		return notEmpty(u.dir, stagingName, 0)
	case len(others) == 0:
		return nil
	case err == nil && ended: // what that restore would have done next
		_ = os.Remove(filepath.Join(u.staging(), wholeName))
		_ = os.Remove(u.staging())
	}
	return notEmpty(u.dir, others[0].Name(), len(others)-1)
}

// clear removes what the restore before has left, and nothing else: examine
// has seen all of it. The stamps go last: without them nobody could tell whose
// the rest is.
func (u *unfinished) clear() error {
	if u.before == nil {
		return nil
	}
	if u.before.Node != "" {
		entries, err := entriesOf(u.dir)
		for _, e := range entries {
			if e.Name() != stagingName && err == nil {
				err = os.RemoveAll(filepath.Join(u.dir, e.Name()))
			}
		}
		if err != nil {
			return fmt.Errorf("remove what a killed restore has left: %w", err)
		}
	}
	for _, name := range u.before.Folders {
		for _, dir := range []string{u.dir, u.staging()} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("remove what a killed restore has left: %w", err)
			}
		}
	}
	left, err := os.ReadDir(u.staging())
	for _, e := range left {
		if e.Name() != recordName && err == nil {
			err = os.Remove(filepath.Join(u.staging(), e.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("remove what a killed restore has left: %w", err)
	}
	return nil
}

// write puts a record into the file.
func (u *unfinished) write(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Not by a new file, which would have no lock. A process that is killed in
	// the middle has made nothing else yet.
	if _, err = u.file.WriteAt(append(text, '\n'), 0); err == nil {
		err = u.file.Truncate(int64(len(text) + 1))
	}
	if err = errors.Join(err, u.file.Sync()); err != nil {
		return fmt.Errorf("write %s: %w", u.file.Name(), err)
	}
	return nil
}

// end removes the staging folder, which is empty but for this. From then on
// what has its name is a restored cluster.
func (u *unfinished) end() error {
	entries, err := os.ReadDir(u.staging())
	for _, e := range entries {
		if isEntry(e.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(u.staging(), e.Name())))
		}
	}
	err = errors.Join(err, os.Remove(u.file.Name()), os.Remove(filepath.Join(u.staging(), wholeName)), os.Remove(u.staging()), atomicfile.SyncDir(u.dir))
	if err != nil {
		return fmt.Errorf("name the nodes' folders: %w", err)
	}
	return nil
}

// leave lets go of a folder that is not to be taken, as it was found.
func (u *unfinished) leave() error {
	if u.file == nil {
		return nil
	}
	info, err := u.file.Stat()
	if err == nil && info.Size() == 0 { // nobody's but this process's
		err = errors.Join(os.Remove(u.file.Name()), os.Remove(u.staging()))
	}
	return errors.Join(err, u.close())
}

func (u *unfinished) close() error {
	if u == nil || u.file == nil {
		return nil
	}
	return u.file.Close() // and with it ends the lock
}
