package drill

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
)

// childVariable makes the test binary provision a sandbox of the runtime it
// names and wait to be killed.
const (
	childVariable = "SLOTARK_TEST_DRILL"
	childRoot     = "SLOTARK_TEST_DRILL_ROOT"
	childID       = "SLOTARK_TEST_DRILL_ID"
	// childPhase makes it hold a drill of the repository that childRepository names
	// instead, and wait where this phase begins.
	childPhase      = "SLOTARK_TEST_DRILL_PHASE"
	childRepository = "SLOTARK_TEST_DRILL_REPOSITORY"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		hang := provisionAndHang
		if os.Getenv(childPhase) != "" {
			hang = drillAndHang
		}
		if err := hang(Runtime(name)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	if saved.root != "" {
		_ = os.RemoveAll(saved.root)
	}
	os.Exit(code)
}

func provisionAndHang(runtime Runtime) error {
	ctx := context.Background()
	by, err := self()
	if err != nil {
		return err
	}
	o := testOrder(manifest.ID(os.Getenv(childID)), by, os.Getenv(childRoot))
	p, err := testPlace(ctx, runtime)
	if err != nil {
		return err
	}
	if _, err := p.provision(ctx, o); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	select {}
}

// drillAndHang drills the latest snapshot until a phase begins.
func drillAndHang(runtime Runtime) error {
	ctx := context.Background()
	repository, err := catalog.Open(ctx, []storage.Named{{Name: "primary", Store: fs.Open(os.Getenv(childRepository))}})
	if err != nil {
		return err
	}
	source, err := repository.Find(ctx, "prod", catalog.Latest)
	if err != nil {
		return err
	}
	_, err = Run(ctx, Options{Snapshot: source, Runtime: runtime, Progress: func(e progress.Event) {
		if e.Phase == os.Getenv(childPhase) {
			fmt.Fprintln(os.Stdout, "ready")
			select {}
		}
	}})
	return fmt.Errorf("the drill ended: %w", err)
}

var discard = slog.New(slog.DiscardHandler)

// testServer is what snapshots of the installed server are of.
var testServer = installedServer()

func installedServer() manifest.Server {
	engine, version, err := redisproc.Version("")
	if err != nil {
		panic(fmt.Sprintf("%v: run `make deps` to install what the tests need", err))
	}
	return manifest.Server{Engine: engine, Version: version}
}

func testOrder(id manifest.ID, by owner, root string) order {
	m := &manifest.Manifest{Server: testServer, Shards: []manifest.Shard{{Replicas: 1}, {Replicas: 1}, {Replicas: 1}}}
	o := newOrder(id, by, m, 0, AsTaken)
	o.root = root
	return o
}

// testPlace is a runtime with what it needs to provision.
func testPlace(ctx context.Context, runtime Runtime) (*place, error) {
	p, err := findPlace(ctx, runtime, discard)
	if err != nil {
		return nil, err
	}
	return p, p.choose(ctx, "", "", testServer)
}

// eachRuntime runs a test in every runtime there is: processes always,
// containers where an engine answers. In CI both must be there.
func eachRuntime(t *testing.T, test func(t *testing.T, p *place, root string)) {
	t.Helper()
	for _, runtime := range []Runtime{Process, Docker} {
		p, err := testPlace(t.Context(), runtime)
		if err != nil && runtime == Docker && os.Getenv("CI") != "true" {
			t.Logf("containers are not tested: %v", err)
			continue
		}
		t.Run(string(runtime), func(t *testing.T) {
			if err != nil {
				t.Fatal(err)
			}
			test(t, p, t.TempDir())
		})
	}
}

// requireEngine is for what can be tested in containers only; false means that
// there is no engine, and no CI to demand one.
func requireEngine(t *testing.T) (*place, bool) {
	t.Helper()
	p, err := testPlace(t.Context(), Docker)
	if err == nil {
		return p, true
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Logf("containers are not tested: %v", err)
	return nil, false
}

func newTestOrder(t *testing.T, root string) order {
	t.Helper()
	by, err := self()
	if err != nil {
		t.Fatal(err)
	}
	id := manifest.NewID(time.Now())
	running.begin(id)
	t.Cleanup(func() { running.end(id) })
	return testOrder(id, by, root)
}

func provision(t *testing.T, p *place, o order) Sandbox {
	t.Helper()
	s, err := p.provision(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeSandbox(context.Background(), s); err != nil {
			t.Error(err)
		}
	})
	return s
}

// left names everything that is left of a drill, or without an id of all drills
// of this process under its root: containers, folders and processes.
func left(t *testing.T, p *place, o order) []string {
	t.Helper()
	var found []string
	if p.engine != nil {
		label := labelDrill + "=" + string(o.id)
		if o.id == "" {
			label = labelOwner + "=" + o.owner.String()
		}
		list, err := p.engine.api.ContainerList(context.Background(), client.ContainerListOptions{
			All: true, Filters: make(client.Filters).Add("label", label),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Items {
			found = append(found, "container "+c.Names[0])
		}
	}
	folders, err := filepath.Glob(filepath.Join(o.root, "slotark-drill-*"))
	if err != nil {
		t.Fatal(err)
	}
	found = append(found, folders...)
	// A server renames itself, but it works in its folder.
	places, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range places {
		if dir, err := os.Readlink(link); err == nil && strings.HasPrefix(dir, o.root+"/slotark-drill-") {
			found = append(found, "process in "+dir)
		}
	}
	return found
}
