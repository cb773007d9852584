package drill

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// A drill that is killed where a phase begins, and so at the end of the phase
// before, leaves nothing that runs once the next drill has been held.
func TestDrillKilledAtEachPhase(t *testing.T) {
	eachRuntime(t, func(t *testing.T, p *place, _ string) {
		private(t)
		source, root := takeSnapshot(t)
		phases := []string{"sweep", "image", "provision", "check", "assign", "join", "load", "functions", "replicas", "compare", "probe", "remove"}
		if p.runtime == Docker {
			phases = []string{"sweep", "image", "provision", "check", "load", "probe", "remove"} // the rest is the same code, on the same containers
		}
		// All of them at once, and none is killed before each has come to its phase:
		// their own sweeps take what the dead have left.
		children := make([]*exec.Cmd, len(phases))
		var ready sync.WaitGroup
		for i, phase := range phases {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), childVariable+"="+string(p.runtime), childPhase+"="+phase, childRepository+"="+root)
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = child.Process.Kill() }) // where the test ends early
			children[i] = child
			ready.Go(func() {
				if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
					t.Errorf("the child did not come to %s: %v", phase, err)
				}
			})
		}
		ready.Wait()
		for _, child := range children {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = child.Wait() // killed
		}
		var killed []order
		found, err := filepath.Glob(filepath.Join(sandboxRoot(), "slotark-drill-*"))
		if err != nil || len(found) < len(phases)-3 {
			t.Fatalf("%d killed drills left %d folders: the test tests nothing (%v)", len(phases), len(found), err)
		}
		for _, path := range found {
			parts := folderPattern.FindStringSubmatch(filepath.Base(path))
			by, err := parseOwner(parts[2])
			if err != nil {
				t.Fatal(err)
			}
			killed = append(killed, order{owner: by, root: sandboxRoot()})
		}
		// The engine may be making containers for the dead a moment longer.
		await(t, "the next drills to remove everything", func() bool {
			report, err := Run(t.Context(), Options{Snapshot: source, Runtime: p.runtime, Shards: 1})
			if err != nil || !report.Proved {
				t.Fatalf("the next drill: %+v, %v", report, err)
			}
			rest := 0
			for _, o := range killed {
				rest += len(left(t, p, o))
			}
			return rest == 0
		})
		nothingLeft(t, p)
	})
}
