package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
)

const (
	primaries = 3
	replicas  = 3
	keys      = 100_000
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run of the story.
type demo struct {
	slotark  string // the program
	root     string // everything is in this folder
	password string
	servers  servers
	phases   []phase
}

func run(ctx context.Context) (err error) {
	slotark := os.Getenv("SLOTARK_BIN")
	if slotark == "" {
		return errors.New("SLOTARK_BIN does not say where slotark is: run `make demo`")
	}
	root, err := os.MkdirTemp("", "slotark-demo-")
	if err != nil {
		return err
	}
	keep := os.Getenv("KEEP") == "1"
	d := &demo{slotark: slotark, root: root, password: rand.Text()}
	d.servers = servers{password: d.password, detached: keep}
	defer func() {
		if err == nil && keep {
			d.leave()
			return
		}
		// The servers first: they write into the folder.
		err = errors.Join(err, d.servers.kill(), os.RemoveAll(root))
	}()
	started := clock.Now()
	for _, step := range []func(context.Context) error{
		d.create, d.fill, d.snapshot, d.verify, d.destroy, d.rebuild, d.compare,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.summary(clock.Since(started))
	return nil
}

// folder is a folder of the demo.
func (d *demo) folder(parts ...string) string {
	return filepath.Join(append([]string{d.root}, parts...)...)
}

// leave says what KEEP=1 left running.
func (d *demo) leave() {
	path := d.folder("password")
	if err := os.WriteFile(path, []byte(d.password+"\n"), 0o600); err != nil { // private: the person's own
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	fmt.Printf(`
KEEP=1: the rebuilt cluster is left running, everything is in %[1]s
  redis-cli:  REDISCLI_AUTH=$(cat %[2]s) redis-cli -c -p %[3]d
  slotark:    %[4]s list --repo %[5]s
  a drill:    %[4]s drill --repo %[5]s
  remove it:  kill %[6]s && rm -r %[1]s
`, d.root, path, d.servers.port(0), d.slotark, d.folder("eu-west-1"), d.servers.pids())
}

// summary is what was proved, and how long each phase took.
func (d *demo) summary(total time.Duration) {
	fmt.Println("\nWhat was proved")
	fmt.Printf("  A cluster of %d primaries and %d replicas was lost with all its data and rebuilt from a snapshot:\n", primaries, replicas)
	fmt.Println("  the same slots on the same shards, every key equal. How long each phase took:")
	for _, p := range d.phases {
		fmt.Printf("  %-9s %8s   %s\n", p.name, human.Duration(p.elapsed), p.what)
	}
	fmt.Printf("  %-9s %8s\n", "in all", human.Duration(total))
}
