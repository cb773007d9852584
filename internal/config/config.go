package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/agent"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/storage/seal"
)

// Config is the whole file. The tags are the keys.
type Config struct {
	Cluster    Cluster    `yaml:"cluster"`
	Repository Repository `yaml:"repository"`
	Snapshot   Snapshot   `yaml:"snapshot"`
	Agents     Agents     `yaml:"agents"`
	Restore    Restore    `yaml:"restore"`
	Drill      Drill      `yaml:"drill"`
	Retention  Retention  `yaml:"retention"`
	Schedule   Schedule   `yaml:"schedule"`
}

// Cluster is which cluster to save, and how to reach it.
type Cluster struct {
	Name         string            `yaml:"name"`          // its name in the repository
	Nodes        []string          `yaml:"nodes"`         // "host:port"; one that answers suffices
	Username     string            `yaml:"username"`      // ACL user; empty is default
	PasswordFile string            `yaml:"password_file"` // read at each run
	PasswordEnv  string            `yaml:"password_env"`  // name of an environment variable
	TLS          *TLS              `yaml:"tls"`           // nil: no TLS
	NAT          map[string]string `yaml:"nat"`           // announced "host:port" to reachable "host:port"
	Timeout      time.Duration     `yaml:"timeout"`       // of a dial, and of each command
}

// TLS is how a connection is secured: what LoadTLS of internal/cluster takes.
type TLS struct {
	CA                 string `yaml:"ca"`   // PEM file; empty: the system's authorities
	Cert               string `yaml:"cert"` // PEM file
	Key                string `yaml:"key"`  // PEM file
	ServerName         string `yaml:"server_name"`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"`
}

// Repository is where snapshots are kept: URLs of stores.
type Repository struct {
	Primary string   `yaml:"primary"`
	Mirrors []string `yaml:"mirrors"`
	Require string   `yaml:"require"` // how many must have a snapshot: "primary", "all" or a number
	// How long in all a mirror may hold a snapshot up before it is left behind.
	MirrorPatience time.Duration `yaml:"mirror_patience"`
	// Limits are by the stores' names. They are read again while a verb runs.
	Limits       map[string]Limit `yaml:"limits"`
	Seal         Seal             `yaml:"seal"`
	IdentityFile string           `yaml:"identity_file"` // of private keys, to read what is encrypted; never read to take a snapshot
}

// Seal is how snapshots are compressed and encrypted. The names are those of
// package seal.
type Seal struct {
	Compression    string   `yaml:"compression"`     // "zstd" or "none"
	Level          string   `yaml:"level"`           // "fastest", "default", "better" or "best"
	Window         Size     `yaml:"window"`          // how far back a repetition is found; 0: as the level has it
	Workers        int      `yaml:"workers"`         // processors that compress one dump; 0: two
	Recipients     []string `yaml:"recipients"`      // public keys; none here and in the file: no encryption
	RecipientsFile string   `yaml:"recipients_file"` // of public keys, one a line
}

// Limit is how many bytes a second may go into a store and come out of it. 0 is
// no limit.
type Limit struct {
	Put Size `yaml:"put"`
	Get Size `yaml:"get"`
}

// Required is how many stores must have the whole of a snapshot, the primary
// among them.
func (r Repository) Required() (int, error) {
	stores := 1 + len(r.Mirrors)
	switch r.Require {
	case "", "primary":
		return 1, nil
	case "all":
		return stores, nil
	}
	n, err := strconv.Atoi(r.Require)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q: want primary, all, or a number of stores", r.Require)
	case n < 1 || n > stores:
		return 0, fmt.Errorf("%d of %d stores: want a number from 1 to %d", n, stores, stores)
	}
	return n, nil
}

// Snapshot is how snapshots are taken.
type Snapshot struct {
	Collect       string            `yaml:"collect"`        // "auto", "agent", "bgsave" or "stream"
	Settings      string            `yaml:"settings"`       // of the nodes: "auto", "full", "public" or "none"
	AOF           bool              `yaml:"aof"`            // the nodes' append-only files, too
	Replicas      string            `yaml:"replicas"`       // which nodes may give dumps: "prefer", "require" or "never"
	PreferReplica *bool             `yaml:"prefer_replica"` // the older name of replicas: true is "prefer", false "never"
	MaxLag        Size              `yaml:"max_lag"`        // a replica further behind is not dumped from
	Forks         string            `yaml:"forks"`          // "apart", "staggered" or "together"
	MaxSkew       time.Duration     `yaml:"max_skew"`       // of forks together
	Parallel      int               `yaml:"parallel"`       // forks in the cluster, and dumps under way, at once
	Tries         int               `yaml:"tries"`          // of each shard
	NodeBandwidth Size              `yaml:"node_bandwidth"` // bytes a second that are read of one node's dump; 0: no limit
	DataDirs      map[string]string `yaml:"data_dirs"`      // "host:port" of a node to its data folder as seen from here
	Timeout       time.Duration     `yaml:"timeout"`        // of a whole snapshot
}

// Preference is which nodes may give dumps, by whichever name it was set.
func (s Snapshot) Preference() string {
	switch {
	case s.Replicas != "":
		return s.Replicas
	case s.PreferReplica != nil && !*s.PreferReplica:
		return snapshot.ReplicasNever
	}
	return snapshot.ReplicasPrefer
}

// Agents are those beside the nodes, and what one of them needs to be one.
type Agents struct {
	URLs   map[string]string `yaml:"urls"`   // "host:port" of a node to "https://host:port" of its agent
	CA     string            `yaml:"ca"`     // PEM file: who signs the certificates of agents and coordinators
	Cert   string            `yaml:"cert"`   // PEM file: of this machine
	Key    string            `yaml:"key"`    // PEM file
	Listen string            `yaml:"listen"` // "host:port" of `slotark agent`
	Grace  time.Duration     `yaml:"grace"`  // how long an agent goes on without a coordinator

	Nodes map[string]AgentNode `yaml:"nodes"` // that the agent may restore, by "host:port"
}

// AgentNode is what an agent needs to restore a node: commands that stop and start it,
// and what the node's configuration says of its files, for when it does not run and
// cannot be asked.
type AgentNode struct {
	Stop              []string `yaml:"stop"` // a program and its arguments
	Start             []string `yaml:"start"`
	AppendOnly        bool     `yaml:"appendonly"`
	DBFilename        string   `yaml:"dbfilename"`
	AppendDirname     string   `yaml:"appenddirname"`
	AppendFilename    string   `yaml:"appendfilename"`
	ClusterConfigFile string   `yaml:"cluster_config_file"`
}

// Files are the settings as package agent takes them.
func (a Agents) Files() agent.Files { return agent.Files{CA: a.CA, Cert: a.Cert, Key: a.Key} }

// Restore is what a restore has to know of the machines that it is onto.
type Restore struct {
	Zones map[string]string `yaml:"zones"` // host, as in the addresses, to its zone: what is lost together
}

// Drill is how restores are rehearsed.
type Drill struct {
	Runtime string        `yaml:"runtime"` // "auto", "docker" or "process"
	Image   string        `yaml:"image"`   // container image; empty: made from the local redis-server
	Program string        `yaml:"program"` // what local processes run; empty: the local redis-server
	Timeout time.Duration `yaml:"timeout"` // of a whole drill

	Pick     string `yaml:"pick"`     // "latest", or "rotate": what was not proved for longest
	From     string `yaml:"from"`     // name of the one store to read from; empty: any
	Shards   int    `yaml:"shards"`   // to divide the slots over; 0: as they were
	Replicas int    `yaml:"replicas"` // in all; -1: one for each shard that had any

	// Credentials is a profile of the shared AWS configuration, of whoever will have to
	// restore; empty: what else opens the buckets.
	Credentials string `yaml:"credentials"`

	Probes string `yaml:"probes"` // file of what to ask the restored cluster besides
}

// Retention is which snapshots `slotark prune` keeps. Without a rule there is
// nothing to prune by.
type Retention struct {
	KeepLast     int    `yaml:"keep_last"`
	KeepWithin   Span   `yaml:"keep_within"`
	KeepHourly   int    `yaml:"keep_hourly"`
	KeepDaily    int    `yaml:"keep_daily"`
	KeepWeekly   int    `yaml:"keep_weekly"`
	KeepMonthly  int    `yaml:"keep_monthly"`
	KeepYearly   int    `yaml:"keep_yearly"`
	KeepMinimum  int    `yaml:"keep_minimum"`  // of the newest whole ones, whatever the rules say
	OrphansOlder Span   `yaml:"orphans_older"` // what is older and has no manifest is removed
	TimeZone     string `yaml:"time_zone"`     // of hours, days, weeks, months and years
}

// Schedule is when `slotark serve` does what. An empty one is never.
type Schedule struct {
	Snapshot string `yaml:"snapshot"` // cron expression
	Drill    string `yaml:"drill"`    // cron expression
	Prune    string `yaml:"prune"`    // cron expression
	TimeZone string `yaml:"time_zone"`
}

// Default is what holds where there is no file, or the file says nothing.
func Default() *Config {
	return &Config{
		Cluster:    Cluster{Timeout: 5 * time.Second},
		Repository: Repository{Require: "primary", MirrorPatience: 10 * time.Minute, Seal: Seal{Compression: seal.Zstd, Level: seal.Fastest}},
		Snapshot: Snapshot{
			Collect: "auto", Settings: snapshot.SettingsAuto, MaxLag: snapshot.DefaultMaxLag, Forks: snapshot.ForksApart, MaxSkew: snapshot.DefaultMaxSkew,
			Parallel: snapshot.DefaultParallel, Tries: snapshot.DefaultTries, Timeout: 2 * time.Hour,
		},
		Agents:    Agents{Grace: 2 * time.Minute},
		Drill:     Drill{Runtime: "auto", Timeout: time.Hour, Pick: "latest", Replicas: -1},
		Retention: Retention{KeepMinimum: 3, OrphansOlder: Span(24 * time.Hour), TimeZone: "UTC"},
		Schedule:  Schedule{TimeZone: "UTC"},
	}
}

// Load reads and checks a file. Names of other files and folders in it are taken
// relative to its own folder. An error that is about what the file says is an *[Invalid].
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(path)
	c.Cluster.PasswordFile = beside(folder, c.Cluster.PasswordFile)
	if tls := c.Cluster.TLS; tls != nil {
		tls.CA, tls.Cert, tls.Key = beside(folder, tls.CA), beside(folder, tls.Cert), beside(folder, tls.Key)
	}
	c.Agents.CA, c.Agents.Cert, c.Agents.Key = beside(folder, c.Agents.CA), beside(folder, c.Agents.Cert), beside(folder, c.Agents.Key)
	c.Repository.Seal.RecipientsFile = beside(folder, c.Repository.Seal.RecipientsFile)
	c.Repository.IdentityFile = beside(folder, c.Repository.IdentityFile)
	c.Drill.Probes = beside(folder, c.Drill.Probes)
	c.Repository.Primary = storeBeside(folder, c.Repository.Primary)
	for i, mirror := range c.Repository.Mirrors {
		c.Repository.Mirrors[i] = storeBeside(folder, mirror)
	}
	return c, nil
}

// storeBeside is beside for a store, which is a folder's name or a URL.
func storeBeside(folder, location string) string {
	if strings.Contains(location, ":") {
		return location
	}
	return beside(folder, location)
}

// beside makes a file's name relative to a folder, if it is relative at all.
func beside(folder, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(folder, name)
}

func parse(name string, text []byte) (*Config, error) {
	c := Default()
	d := &decoder{file: filepath.Base(name), lines: map[string]int{}}
	d.document(text, c)
	broken := len(d.problems) // a value that could not be read cannot be judged either
	for _, p := range c.problems() {
		if !d.alreadyTold(p.Path, broken) {
			d.report(d.lineOf(p.Path), p.Path, "%s", p.Text)
		}
	}
	if err := d.verdict(); err != nil {
		return nil, err
	}
	return c, nil
}

// verdict is all that was found, in the order of the lines; nil where that is
// nothing.
func (d *decoder) verdict() error {
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return invalid(d.problems)
}

// Problem is one thing wrong with a configuration.
type Problem struct {
	File string // empty for what did not come from a file
	Line int
	Path string // such as "cluster.nodes[1]"
	Text string
}

// String is one line: "slotark.yaml:7: schedule.snapshot: …".
func (p Problem) String() string {
	where := ""
	if p.File != "" {
		where = fmt.Sprintf("%s:%d: ", p.File, p.Line)
	}
	if p.Path != "" {
		where += p.Path + ": "
	}
	return where + p.Text
}

// Invalid is all that is wrong with a configuration.
type Invalid struct{ Problems []Problem }

// Error is a line for each problem.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func invalid(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Invalid{problems}
}
