package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones where the system has none, as in a small container

	"github.com/slotark/slotark/internal/agent"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/scheduler"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// Validate checks what can be checked without asking anybody. It finds the
// same in a configuration put together from flags as in one from a file. What
// a verb needs and has not got is the verb's to say.
func (c *Config) Validate() error { return invalid(c.problems()) }

// Location is the time zone of the schedules.
func (s Schedule) Location() (*time.Location, error) { return zone(s.TimeZone) }

// Location is the time zone of the rules that go by the calendar.
func (r Retention) Location() (*time.Location, error) { return zone(r.TimeZone) }

func zone(name string) (*time.Location, error) {
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone: want a name such as UTC or Europe/Berlin", name)
	}
	return location, nil
}

// problems is everything wrong, in the order of the keys.
func (c *Config) problems() []Problem {
	v := &validator{}
	v.cluster(&c.Cluster)
	v.repository(&c.Repository)
	v.snapshot(&c.Snapshot)
	v.agents(&c.Agents)
	v.drill(&c.Drill)
	v.retention(&c.Retention)
	v.schedule(&c.Schedule)
	return v.problems
}

type validator struct{ problems []Problem }

func (v *validator) report(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (v *validator) cluster(c *Cluster) {
	if c.Name != "" {
		if err := manifest.ValidateClusterName(c.Name); err != nil {
			v.report("cluster.name", "%v", err)
		}
	}
	for i, node := range c.Nodes {
		v.address(fmt.Sprintf("cluster.nodes[%d]", i), node)
	}
	if c.PasswordFile != "" && c.PasswordEnv != "" {
		v.report("cluster.password_env", "there is a password_file too: give one of them")
	}
	if c.PasswordEnv != "" && strings.ContainsAny(c.PasswordEnv, "= $\x00") {
		// Perhaps the password itself: it is not repeated.
		v.report("cluster.password_env", "want the name of an environment variable, such as REDIS_PASSWORD")
	}
	if tls := c.TLS; tls != nil && (tls.Cert == "") != (tls.Key == "") {
		v.report("cluster.tls", "cert and key belong together: give both or none")
	}
	for _, announced := range slices.Sorted(maps.Keys(c.NAT)) {
		path := "cluster.nat[" + announced + "]"
		if v.address(path, announced) {
			v.address(path, c.NAT[announced])
		}
	}
	v.positive("cluster.timeout", c.Timeout)
}

func (v *validator) repository(r *Repository) {
	seen := map[string]string{}
	check := func(path, location string) {
		if first, twice := seen[location]; twice {
			v.report(path, "is the same place as %s: a copy there protects nothing", first)
			return
		}
		seen[location] = path
		v.location(path, location)
	}
	if r.Primary != "" {
		check("repository.primary", r.Primary)
	} else if len(r.Mirrors) > 0 {
		v.report("repository.primary", "is missing, and there are mirrors: one store is the primary")
	}
	for i, mirror := range r.Mirrors {
		check(fmt.Sprintf("repository.mirrors[%d]", i), mirror)
	}
	if _, err := r.Required(); err != nil {
		v.report("repository.require", "%v", err)
	}
	v.positive("repository.mirror_patience", r.MirrorPatience)
	v.seal(&r.Seal)
}

func (v *validator) seal(s *Seal) {
	before := len(v.problems)
	v.oneOf("repository.seal.compression", s.Compression, seal.Zstd, seal.None)
	v.oneOf("repository.seal.level", s.Level, seal.Fastest, seal.Default, seal.Better, seal.Best)
	if s.Window != 0 && (s.Window < seal.MinWindow || s.Window > seal.MaxWindow || s.Window&(s.Window-1) != 0) {
		v.report("repository.seal.window", "want a power of two from 1KiB to 128MiB")
	}
	if s.Workers < 0 || s.Workers > seal.MaxWorkers {
		v.report("repository.seal.workers", "want 1 to %d", seal.MaxWorkers)
	}
	var recipients []seal.Recipient
	for i, text := range s.Recipients {
		// A private key is not repeated: ParseRecipient sees to it.
		r, err := seal.ParseRecipient(text)
		if err != nil {
			v.report(fmt.Sprintf("repository.seal.recipients[%d]", i), "%v", err)
			continue
		}
		recipients = append(recipients, r)
	}
	if len(v.problems) > before {
		return
	}
	if _, err := seal.New(seal.Options{Recipients: recipients}); err != nil {
		v.report("repository.seal.recipients", "%v", err)
	}
}

// Sealer is what the settings come to. The file of recipients is read here,
// anew each time. No private key is needed.
func (s *Seal) Sealer() (*seal.Sealer, error) {
	o := seal.Options{Compression: s.Compression, Level: s.Level, Window: int64(s.Window), Workers: s.Workers}
	for _, text := range s.Recipients {
		r, err := seal.ParseRecipient(text)
		if err != nil {
			return nil, err
		}
		o.Recipients = append(o.Recipients, r)
	}
	if s.RecipientsFile != "" {
		more, err := seal.ReadRecipients(s.RecipientsFile)
		if err != nil {
			return nil, err
		}
		o.Recipients = append(o.Recipients, more...)
	}
	return seal.New(o)
}

// location checks a store's URL as far as no store has to be asked. A URL that
// carries credentials is refused, and not repeated.
func (v *validator) location(path, location string) {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.User != nil:
		v.report(path, "want a store: a folder, file:///folder or s3://bucket/prefix?region=REGION, without credentials in it: those come from the environment or a profile")
	case u.Scheme == "" && location != "": // a folder
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
	case u.Scheme == "s3" && u.Host != "":
	default:
		v.report(path, "%q is not a store: want a folder, file:///folder or s3://bucket/prefix?region=REGION", location)
	}
}

// minBandwidth keeps the buffers between a node and its reader moving.
const minBandwidth = 1 << 20

func (v *validator) snapshot(s *Snapshot) {
	v.oneOf("snapshot.collect", s.Collect, "auto", "agent", "bgsave", "stream")
	v.oneOf("snapshot.settings", s.Settings, "auto", "full", "public", "none")
	for _, node := range slices.Sorted(maps.Keys(s.DataDirs)) {
		path := "snapshot.data_dirs[" + node + "]"
		if v.address(path, node) && !filepath.IsAbs(s.DataDirs[node]) {
			v.report(path, "%q is not an absolute path", s.DataDirs[node])
		}
	}
	if s.Replicas != "" {
		v.oneOf("snapshot.replicas", s.Replicas, snapshot.ReplicasPrefer, snapshot.ReplicasRequire, snapshot.ReplicasNever)
		if s.PreferReplica != nil {
			v.report("snapshot.prefer_replica", "is the older name of replicas, which is there too: remove this one")
		}
	}
	if s.MaxLag <= 0 {
		v.report("snapshot.max_lag", "want more than nothing, such as 16MiB")
	}
	v.oneOf("snapshot.forks", s.Forks, snapshot.ForksApart, snapshot.ForksStaggered, snapshot.ForksTogether)
	v.positive("snapshot.max_skew", s.MaxSkew)
	if s.Parallel < 1 {
		v.report("snapshot.parallel", "%d: want at least 1", s.Parallel)
	}
	if s.Tries < 1 {
		v.report("snapshot.tries", "%d: want at least 1", s.Tries)
	}
	if s.NodeBandwidth != 0 && s.NodeBandwidth < minBandwidth {
		v.report("snapshot.node_bandwidth", "want at least 1MiB a second: a node drops who takes no byte of its stream for a minute (repl-timeout)")
	}
	v.positive("snapshot.timeout", s.Timeout)
}

func (v *validator) agents(a *Agents) {
	for _, node := range slices.Sorted(maps.Keys(a.URLs)) {
		path := "agents.urls[" + node + "]"
		if !v.address(path, node) {
			continue
		}
		if _, err := agent.ParseURL(a.URLs[node]); err != nil {
			v.report(path, "%v", err)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(a.Nodes)) {
		path, n := "agents.nodes["+node+"]", a.Nodes[node]
		v.address(path, node)
		for what, argv := range map[string][]string{"stop": n.Stop, "start": n.Start} {
			if len(argv) == 0 || argv[0] == "" {
				v.report(path, "no command to %s it: want %s: [PROGRAM, ARGUMENT, ...]", what, what)
			}
		}
	}
	if a.Listen != "" {
		v.address("agents.listen", a.Listen)
	}
	if a.Grace < 10*time.Second {
		v.report("agents.grace", "%s: want at least 10s: a connection that is lost must have time to come back", a.Grace)
	}
}

func (v *validator) drill(d *Drill) {
	v.oneOf("drill.runtime", d.Runtime, "auto", "docker", "process")
	if d.Runtime == "process" && d.Image != "" {
		v.report("drill.image", "an image means nothing to runtime: process")
	}
	if d.Program != "" && (d.Runtime == "docker" || d.Image != "") {
		v.report("drill.program", "containers run an image, not a program")
	}
	v.positive("drill.timeout", d.Timeout)
	v.oneOf("drill.pick", d.Pick, "latest", "rotate")
	if d.Shards < 0 || d.Shards > slot.Count {
		v.report("drill.shards", "%d: want 1 to %d, or 0 for the snapshot's", d.Shards, slot.Count)
	}
	if d.Replicas < -1 {
		v.report("drill.replicas", "%d: want how many, or -1 for one for each shard that had any", d.Replicas)
	}
}

func (v *validator) retention(r *Retention) {
	for _, rule := range []struct {
		path  string
		count int
	}{
		{"retention.keep_last", r.KeepLast}, {"retention.keep_hourly", r.KeepHourly}, {"retention.keep_daily", r.KeepDaily},
		{"retention.keep_weekly", r.KeepWeekly}, {"retention.keep_monthly", r.KeepMonthly}, {"retention.keep_yearly", r.KeepYearly},
	} {
		if rule.count < 0 {
			v.report(rule.path, "%d: want how many to keep, or 0 to leave the rule out", rule.count)
		}
	}
	if r.KeepMinimum < 1 {
		v.report("retention.keep_minimum", "%d: want at least 1: the newest whole snapshot always stays", r.KeepMinimum)
	}
	if r.OrphansOlder.Duration() < time.Hour {
		v.report("retention.orphans_older", "%s: want at least an hour: what is younger may be a snapshot under way", r.OrphansOlder)
	}
	if _, err := r.Location(); err != nil {
		v.report("retention.time_zone", "%v", err)
	}
}

func (v *validator) schedule(s *Schedule) {
	for _, job := range []struct{ path, expression string }{{"schedule.snapshot", s.Snapshot}, {"schedule.drill", s.Drill}, {"schedule.prune", s.Prune}} {
		if job.expression == "" {
			continue
		}
		if err := scheduler.CheckSchedule(job.expression); err != nil {
			v.report(job.path, "%v", err)
		}
	}
	if _, err := s.Location(); err != nil {
		v.report("schedule.time_zone", "%v", err)
	}
}

// address checks "host:port", IPv6 addresses in brackets.
func (v *validator) address(path, address string) bool {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.Atoi(port)
	if err != nil || portErr != nil || host == "" || number < 1 || number > 65535 {
		v.report(path, "%q is not an address: want HOST:PORT, such as 10.0.1.10:6379 or [fd00::1]:6379", address)
		return false
	}
	return true
}

func (v *validator) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.report(path, "%q is not known: want %s", value, strings.Join(allowed, ", "))
	}
}

func (v *validator) positive(path string, d time.Duration) {
	if d <= 0 {
		v.report(path, "want more than nothing, such as 30s: every wait has a limit")
	}
}
