package drill

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slotark/slotark/snapshot/manifest"
)

func TestFate(t *testing.T) {
	here, err := self()
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	// A child that ended and that nobody waited for: it has a process id, a
	// start, and no life.
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zombie.Wait() }()
	zombieStart, running, err := processStart(zombie.Process.Pid)
	for ; running && err == nil; _, running, err = processStart(zombie.Process.Pid) {
	}
	if err != nil {
		t.Fatal(err)
	}

	with := func(change func(*owner)) owner { o := here; change(&o); return o }
	for name, test := range map[string]struct {
		owner owner
		want  fate
	}{
		"this process":            {here, alive},
		"process id used again":   {with(func(o *owner) { o.start-- }), dead},
		"no such process":         {with(func(o *owner) { o.pid = gone.Process.Pid }), dead},
		"zombie":                  {with(func(o *owner) { o.pid, o.start = zombie.Process.Pid, zombieStart }), dead},
		"before the last boot":    {with(func(o *owner) { o.boot = "00000000" }), dead},
		"another host":            {with(func(o *owner) { o.host = "00000000" }), elsewhere},
		"another host, old boot":  {with(func(o *owner) { o.host, o.boot = "00000000", "00000000" }), elsewhere},
		"first process of a host": {with(func(o *owner) { o.pid = 1 }), dead}, // lives, started at another time
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.owner.fate(here); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if parsed, err := parseOwner(test.owner.String()); err != nil || parsed != test.owner {
				t.Errorf("written and read back: %v, %v; want %v", parsed, err, test.owner)
			}
		})
	}
}

func TestParseOwnerRefuses(t *testing.T) {
	for _, text := range []string{"", "x", "aaaaaaaa-bbbbbbbb-1", "aaaaaaaa-bbbbbbbb--1-2", "aaaaaaaa-bbbbbbbb-1-2-3", "aaaaaaaa-bbbbbbbb-1-99999999999999999999"} {
		if got, err := parseOwner(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// A drill of this process that ended without removing everything is swept by
// this process's next one; `slotark serve` would else keep it for months.
func TestSweepFolders(t *testing.T) {
	here, err := self()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dead := here
	dead.start--
	away := here
	away.host = "00000000"
	live, ended := manifest.ID("20260131T020000Z-aaaaaa"), manifest.ID("20260131T020000Z-bbbbbb")
	running.begin(live)
	defer running.end(live)

	stays, goes := map[string]bool{}, map[string]bool{}
	for _, f := range []struct {
		id   manifest.ID
		by   owner
		goes bool
	}{{live, here, false}, {ended, here, true}, {ended, dead, true}, {ended, away, false}} {
		made, err := makeFolder(root, f.id, f.by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(made.path, "nodes.conf"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if f.goes {
			goes[made.path] = true
		} else {
			stays[made.path] = true
		}
	}
	for _, name := range []string{"slotark-drill-", "slotark-drill-notes", "other"} {
		path := filepath.Join(root, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		stays[path] = true
	}
	if err := sweep(t.Context(), nil, root, here, discard); err != nil {
		t.Fatal(err)
	}
	for path := range stays {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("swept, though it is in use or not a drill's: %s", path)
		}
	}
	for path := range goes {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("left: %s", path)
		}
	}
}
