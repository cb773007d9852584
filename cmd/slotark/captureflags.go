package main

import (
	"errors"
	"fmt"

	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/snapshot"
	"github.com/spf13/pflag"
)

// addCaptureFlags are those of the verbs that take snapshots.
func (a *app) addCaptureFlags(set *pflag.FlagSet) {
	f := &a.flags
	set.StringVar(&f.require, "require", "", "how many stores must have the whole snapshot, or it fails: primary, all, or a number `N`, the primary among them (default primary)")
	set.StringVar(&f.collect, "collect", "", "how to get the dumps: agent (beside each node, --agent), bgsave (the nodes' data folders), stream (as a replica does) or auto (default auto)")
	set.StringVar(&f.keep, "keep-settings", "", "what to keep of the nodes' settings: auto (passwords only where it is encrypted), full, public (never passwords) or none (default auto)")
	set.BoolVar(&f.aof, "aof", false, "take the nodes' append-only files, too; their data folders must be readable, from here or by their agents")
	set.StringVar(&f.capture.Replicas, "replicas", "", "which nodes give the dumps: prefer (replicas, where one is fit), require (replicas alone) or never (primaries) (default prefer)")
	set.StringVar(&f.prefer, "prefer", "", "replica or primary: the older name of --replicas prefer and --replicas never")
	set.Lookup("prefer").Hidden = true
	set.StringVar(&f.maxLag, "max-lag", "", "how far behind its primary a replica may be, as a `SIZE` (default 16MiB)")
	set.StringVar(&f.capture.Forks, "forks", "", "when nodes fork: apart (one at a time on each machine), staggered (one at a time in all) or together (default apart)")
	set.DurationVar(&f.capture.MaxSkew, "max-skew", 0, "within how long the nodes fork with --forks together (default 1s)")
	set.IntVar(&f.capture.Parallel, "parallel", 0, "how many nodes fork, and how many dumps are under way, at once (default 4)")
	set.IntVar(&f.capture.Tries, "tries", 0, "how often a shard is tried in all, on all of its nodes (default 4)")
	set.StringVar(&f.bandwidth, "node-bandwidth", "", "how much is read from one node in a second at most, as a `SIZE` (default: no limit)")
	set.DurationVar(&f.capture.Timeout, "time-limit", 0, "for the whole snapshot (default 2h)")
	a.addAgentFlags(set)
	a.addDataDirFlag(set)
	a.addSealFlags(set)
}

// addDataDirFlag is that of who reads data folders.
func (a *app) addDataDirFlag(set *pflag.FlagSet) {
	set.StringSliceVar(&a.flags.dataDirs, "data-dir", nil, "where a node's data folder is seen from here: `HOST:PORT=FOLDER`")
}

// addSealFlags are those of who seals dumps.
func (a *app) addSealFlags(set *pflag.FlagSet) {
	f := &a.flags
	set.StringVar(&f.seal.Compression, "compression", "", "zstd or none (default zstd)")
	set.StringVar(&f.seal.Level, "compression-level", "", "fastest, default, better or best (default fastest)")
	set.StringVar(&f.window, "compression-window", "", "how far back a repetition is found, as a `SIZE` to 128MiB (default: as the level has it)")
	a.addRecipientFlags(set)
}

// overrideReplicas lays the flags that say which nodes give the dumps over the
// configuration.
func (f *flags) overrideReplicas(c *config.Snapshot, given func(name string) bool) error {
	if given("prefer") {
		if f.prefer != "replica" && f.prefer != "primary" {
			return fmt.Errorf("--prefer %q: want replica or primary", f.prefer)
		}
		c.Replicas, c.PreferReplica = snapshot.ReplicasPrefer, nil
		if f.prefer == "primary" {
			c.Replicas = snapshot.ReplicasNever
		}
	}
	if given("replicas") {
		c.Replicas, c.PreferReplica = f.capture.Replicas, nil
		if c.Replicas == "" {
			return errors.New(`--replicas "": want prefer, require or never`)
		}
	}
	return nil
}

// overrideCapture lays the flags that say how a snapshot is taken over the
// configuration.
func (f *flags) overrideCapture(c *config.Snapshot, given func(name string) bool) error {
	if given("forks") {
		c.Forks = f.capture.Forks
	}
	if given("max-skew") {
		c.MaxSkew = f.capture.MaxSkew
	}
	if given("parallel") {
		c.Parallel = f.capture.Parallel
	}
	if given("tries") {
		c.Tries = f.capture.Tries
	}
	if given("time-limit") {
		c.Timeout = f.capture.Timeout
	}
	for _, size := range []struct {
		name, text string
		into       *config.Size
	}{{"max-lag", f.maxLag, &c.MaxLag}, {"node-bandwidth", f.bandwidth, &c.NodeBandwidth}} {
		if !given(size.name) {
			continue
		}
		value, err := config.ParseSize(size.text)
		if err != nil {
			return fmt.Errorf("--%s: %w", size.name, err)
		}
		*size.into = value
	}
	dataDirs, err := addressPairs("data-dir", "FOLDER", f.dataDirs)
	if err != nil {
		return err
	}
	for addr, folder := range dataDirs {
		if c.DataDirs == nil {
			c.DataDirs = map[string]string{}
		}
		c.DataDirs[addr] = folder
	}
	return nil
}
