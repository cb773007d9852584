package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/human"
)

// phase is one part of the story.
type phase struct {
	name, what string
	elapsed    time.Duration
}

// timed runs one part and keeps how long it took.
func (d *demo) timed(name, what string, do func() error) error {
	fmt.Printf("\n--- %s: %s\n", name, what)
	started := clock.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d.phases = append(d.phases, phase{name, what, clock.Since(started)})
	return nil
}

func (d *demo) access() *cluster.Access { return &cluster.Access{Password: cluster.Secret(d.password)} }

// create starts six servers and makes them a cluster with redis-cli, so that
// nothing of it is ours.
func (d *demo) create(ctx context.Context) error {
	return d.timed("create", fmt.Sprintf("%d primaries and %d replicas of redis-server, with a password", primaries, replicas), func() error {
		var folders []string
		for i := range primaries + replicas {
			folders = append(folders, d.folder("lost", fmt.Sprintf("node-%d", i+1)))
		}
		if err := d.servers.start(ctx, folders, nil); err != nil {
			return err
		}
		args := append([]string{"--cluster", "create"}, d.servers.addresses()...)
		args = append(args, "--cluster-replicas", fmt.Sprint(replicas/primaries), "--cluster-yes")
		create := exec.CommandContext(ctx, "redis-cli", args...)
		create.Env = append(os.Environ(), "REDISCLI_AUTH="+d.password)
		if output, err := create.CombinedOutput(); err != nil {
			return fmt.Errorf("redis-cli --cluster create: %w: %s", err, output)
		}
		return d.servers.awaitCluster(ctx, d.access())
	})
}

// fill loads keys of every type.
func (d *demo) fill(ctx context.Context) error {
	return d.timed("fill", human.Count(keys)+" keys of every type, with and without expiry, and a function library", func() error {
		topology, err := cluster.Discover(ctx, d.access(), d.servers.addresses())
		if err != nil {
			return err
		}
		stats, err := dataset.Load(ctx, d.access(), topology, dataset.Options{Keys: keys, Seed: 1})
		if err != nil {
			return err
		}
		fmt.Printf("  %s, %s of them expiring: %s\n", human.Plural(stats.Keys, "key"), human.Count(stats.Expiring), types(stats.Types))
		return nil
	})
}

// slotarkRun runs slotark as a person would, and shows the command.
func (d *demo) slotarkRun(ctx context.Context, args ...string) error {
	args = append(args, "--repo", d.folder("eu-west-1"), "--mirror", d.folder("us-east-1"))
	fmt.Println("$ slotark " + strings.Join(args, " "))
	command := exec.CommandContext(ctx, d.slotark, args...)
	command.Env = append(os.Environ(), "SLOTARK_PASSWORD="+d.password)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	// Ctrl-C reaches slotark as the person's own would: it cleans up itself.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	return command.Run()
}

func (d *demo) snapshot(ctx context.Context) error {
	return d.timed("save", "a snapshot of every shard, to two folders that stand for two regions", func() error {
		return d.slotarkRun(ctx, "snapshot", "--cluster", "demo", "--node", d.servers.addresses()[0])
	})
}

func (d *demo) verify(ctx context.Context) error {
	return d.timed("verify", "both regions' copies, to the last byte", func() error {
		if err := d.slotarkRun(ctx, "verify", "latest"); err != nil {
			return err
		}
		return d.slotarkRun(ctx, "list")
	})
}

// destroy kills every server and deletes all its data.
func (d *demo) destroy(context.Context) error {
	return d.timed("destroy", "kill -9 all six servers, delete all their data", func() error {
		if err := d.servers.kill(); err != nil {
			return err
		}
		return os.RemoveAll(d.folder("lost"))
	})
}

// rebuild seeds six data folders and starts servers on them, at the addresses
// that the lost ones had.
func (d *demo) rebuild(ctx context.Context) error {
	if err := d.timed("restore", "seed a data folder for each of the six nodes", func() error {
		return d.slotarkRun(ctx, "restore", "latest", "--to-dir", d.folder("rebuilt"))
	}); err != nil {
		return err
	}
	return d.timed("start", "six servers on the seeded folders, until the cluster is whole", func() error {
		folders, ports, err := seeded(d.folder("rebuilt"))
		if err != nil {
			return err
		}
		if err := d.servers.start(ctx, folders, ports); err != nil {
			return err
		}
		return d.servers.awaitCluster(ctx, d.access())
	})
}

func (d *demo) compare(ctx context.Context) error {
	return d.timed("compare", "the rebuilt cluster with the snapshot, slot by slot and key by key", func() error {
		return d.slotarkRun(ctx, "verify", "latest", "--live", "--node", d.servers.addresses()[0])
	})
}

// seeded finds the folders that slotark made, and for each the port in its
// nodes.conf at which its server has to start.
func seeded(root string) (folders []string, ports []int, err error) {
	folders, err = filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(folders)
	for _, folder := range folders {
		text, err := os.ReadFile(filepath.Join(folder, "nodes.conf"))
		if err != nil {
			return nil, nil, err
		}
		lines, err := cluster.ParseNodes(string(text))
		if err != nil {
			return nil, nil, err
		}
		for _, line := range lines {
			if line.Has("myself") {
				ports = append(ports, line.Port)
			}
		}
	}
	return folders, ports, nil
}

// types is "hash 16,000, list 14,000".
func types(keys map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		parts = append(parts, name+" "+human.Count(keys[name]))
	}
	return strings.Join(parts, ", ")
}
