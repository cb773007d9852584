package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is one run of the program.
type app struct {
	stdout, stderr io.Writer
	terminal       *os.File // where progress is drawn; nil where nowhere
	json           bool
	flags          flags
	limits         limits
}

// flags are what most verbs share. Each has its place in the configuration
// file; a flag that is given wins.
type flags struct {
	config       string
	cluster      string
	nodes        []string
	user         string
	passwordFile string
	tls          bool
	tlsFiles     cluster.TLSFiles
	nat          []string
	timeout      time.Duration
	repo         string
	mirrors      []string
	require      string
	collect      string
	aof          bool
	prefer       string
	keep         string
	dataDirs     []string
	agents       agentFlags
	capture      config.Snapshot
	maxLag       string
	bandwidth    string
	seal         config.Seal
	window       string
	identities   []string
	asOf         string
	credentials  string
}

func (a *app) addFlags(set *pflag.FlagSet) {
	f := &a.flags
	set.StringVar(&f.config, "config", "", "configuration `FILE` (docs/config.md); flags win over it")
	set.BoolVar(&a.json, "json", false, "print one JSON object a line (docs/json.md)")
	set.StringVar(&f.cluster, "cluster", "", "the `NAME` under which the cluster's snapshots are kept (default \"default\")")
	set.StringSliceVar(&f.nodes, "node", nil, "any node of the cluster, as `HOST:PORT`; more may be given in case one is down")
	set.StringVar(&f.user, "user", "", "the ACL user's `NAME` (default: the default user)")
	set.StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password, read at each run (default: $SLOTARK_PASSWORD or $REDISCLI_AUTH)")
	set.BoolVar(&f.tls, "tls", false, "speak TLS, trusting the system's certificate authorities")
	set.StringVar(&f.tlsFiles.CA, "tls-ca", "", "speak TLS, trusting the authority in this PEM `FILE`")
	set.StringVar(&f.tlsFiles.Cert, "tls-cert", "", "client certificate, PEM `FILE`")
	set.StringVar(&f.tlsFiles.Key, "tls-key", "", "client key, PEM `FILE`")
	set.StringVar(&f.tlsFiles.ServerName, "tls-server-name", "", "the `NAME` in the nodes' certificates, where it is not their address")
	set.BoolVar(&f.tlsFiles.InsecureSkipVerify, "tls-insecure", false, "do not check the nodes' certificates")
	set.StringSliceVar(&f.nat, "nat", nil, "reach an announced address elsewhere: `ANNOUNCED=REACHABLE`, both HOST:PORT")
	set.DurationVar(&f.timeout, "timeout", 0, "for connecting to a node and for each command (default 5s)")
	set.StringVar(&f.repo, "repo", "", "the repository's primary store, as a folder or a `URL`: s3://BUCKET/PREFIX?region=…&endpoint=…&path_style=true")
	set.StringArrayVar(&f.mirrors, "mirror", nil, "a further store that receives every object, by its `URL`; may be repeated")
	set.StringVar(&f.asOf, "as-of", "", "read the buckets as they were at an `INSTANT`, such as 2026-01-31T02:00:00Z, with what was deleted or overwritten since; they must keep versions")
}

// addRecipientFlags are those of the verbs that encrypt.
func (a *app) addRecipientFlags(set *pflag.FlagSet) {
	set.StringArrayVar(&a.flags.seal.Recipients, "recipient", nil, "encrypt to this public `KEY`: age1… or \"ssh-ed25519 …\"; may be repeated")
	set.StringVar(&a.flags.seal.RecipientsFile, "recipients-file", "", "encrypt to the public keys in this `FILE`, one a line")
}

// addIdentityFlag is that of the verbs that read what may be encrypted.
func (a *app) addIdentityFlag(set *pflag.FlagSet) {
	set.StringArrayVar(&a.flags.identities, "identity", nil, "private key `FILE` to decrypt with, of age or SSH; may be repeated (default: $SLOTARK_IDENTITY_FILE)")
}

// need is what a verb cannot do without.
type need int

const (
	needCluster  need = 1 << iota // nodes to connect to
	needStores                    // a repository
	needWrites                    // stores as they are now: they will be written
	needLocks                     // stores that lock snapshots as their URLs say: some will be put
	needRestorer                  // stores opened by the credentials of whoever will have to restore
)

// settings are the configuration, the flags over it, and what is opened by
// them.
type settings struct {
	*config.Config
	named  string // the cluster's name where one was given; "" otherwise
	access *cluster.Access
	stores []storage.Named
	warn   func(format string, args ...any) // of what a person should know and nothing stops for
}

// warn prints a warning.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "slotark: warning: "+format+"\n", args...)
}

// settings reads the configuration and the flags, and checks that what the
// verb needs is there.
func (a *app) settings(ctx context.Context, cmd *cobra.Command, needs need) (*settings, error) {
	c := config.Default()
	if a.flags.config != "" {
		loaded, err := config.Load(a.flags.config)
		if err != nil {
			return nil, usageError{err}
		}
		c = loaded
	}
	if err := a.override(c, cmd.Flags()); err != nil {
		return nil, usageError{err}
	}
	s := &settings{Config: c, named: c.Cluster.Name, warn: a.warn}
	if c.Cluster.Name == "" {
		c.Cluster.Name = "default"
	}
	if err := manifest.ValidateClusterName(c.Cluster.Name); err != nil {
		return nil, usageError{err}
	}
	if needs&needCluster != 0 && len(c.Cluster.Nodes) == 0 {
		return nil, hint.Add(usageError{errors.New("no node of the cluster was named")}, "name one: --node HOST:PORT, or cluster.nodes in --config FILE")
	}
	if needs&needWrites != 0 && a.flags.asOf != "" {
		return nil, hint.Add(usageError{fmt.Errorf("%s writes to the stores, and --as-of only shows what was in them", cmd.CommandPath())}, "leave --as-of out")
	}
	if needs&needStores != 0 && c.Repository.Primary == "" {
		return nil, hint.Add(usageError{errors.New("no repository was named")}, "name one: --repo FOLDER or --repo s3://BUCKET/PREFIX, or repository.primary in --config FILE")
	}
	var err error
	if s.access, err = a.access(c); err != nil {
		return nil, usageError{err}
	}
	if needs&needStores != 0 {
		s.stores, err = a.openStores(ctx, c, needs)
	}
	return s, err
}

// override lays the flags that were given over the configuration.
func (a *app) override(c *config.Config, set *pflag.FlagSet) error {
	f := &a.flags
	given := func(name string) bool { return set.Changed(name) }
	overrideText := func(name string, value string, into *string) {
		if given(name) {
			*into = value
		}
	}
	overrideText("cluster", f.cluster, &c.Cluster.Name)
	overrideText("user", f.user, &c.Cluster.Username)
	overrideText("password-file", f.passwordFile, &c.Cluster.PasswordFile)
	overrideText("repo", f.repo, &c.Repository.Primary)
	overrideText("require", f.require, &c.Repository.Require)
	overrideText("collect", f.collect, &c.Snapshot.Collect)
	overrideText("keep-settings", f.keep, &c.Snapshot.Settings)
	overrideText("credentials", f.credentials, &c.Drill.Credentials)
	overrideText("compression", f.seal.Compression, &c.Repository.Seal.Compression)
	overrideText("compression-level", f.seal.Level, &c.Repository.Seal.Level)
	if given("compression-window") {
		window, err := config.ParseSize(f.window)
		if err != nil {
			return fmt.Errorf("--compression-window: %w", err)
		}
		c.Repository.Seal.Window = window
	}
	// Who may read is said in one place: a flag must not add to a file's list
	// somebody whom its author does not know, nor the file to the flag's.
	if given("recipient") || given("recipients-file") {
		c.Repository.Seal.Recipients, c.Repository.Seal.RecipientsFile = f.seal.Recipients, f.seal.RecipientsFile
	}
	if given("aof") {
		c.Snapshot.AOF = f.aof
	}
	if given("node") {
		c.Cluster.Nodes = f.nodes
	}
	if given("mirror") {
		c.Repository.Mirrors = f.mirrors
	}
	if given("timeout") {
		c.Cluster.Timeout = f.timeout
	}
	if err := f.overrideCapture(&c.Snapshot, given); err != nil {
		return err
	}
	if set.Lookup("forks") != nil { // restore and drill have another --replicas
		if err := f.overrideReplicas(&c.Snapshot, given); err != nil {
			return err
		}
	}
	if err := f.agents.override(&c.Agents, given); err != nil {
		return err
	}
	// What the flags made of it is held to the same rules as a file.
	return byFlag(c.Validate(), given)
}

// addressPairs reads what a flag says of nodes: "HOST:PORT=VALUE".
func addressPairs(flag, value string, pairs []string) (map[string]string, error) {
	read := map[string]string{}
	for _, pair := range pairs {
		addr, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("--%s %q: want HOST:PORT=%s", flag, pair, value)
		}
		read[addr] = text
	}
	return read, nil
}

// flagOf names the flag by which a setting is given.
var flagOf = map[string]string{
	"cluster.name": "cluster", "cluster.nodes": "node", "cluster.timeout": "timeout",
	"repository.primary": "repo", "repository.mirrors": "mirror", "repository.require": "require", "snapshot.collect": "collect", "snapshot.aof": "aof", "snapshot.settings": "keep-settings", "snapshot.data_dirs": "data-dir",
	"agents.urls": "agent", "agents.listen": "listen",
	"repository.seal.compression": "compression", "repository.seal.level": "compression-level", "repository.seal.window": "compression-window",
	"repository.seal.recipients": "recipient", "snapshot.replicas": "replicas", "snapshot.max_lag": "max-lag", "snapshot.forks": "forks",
	"snapshot.max_skew": "max-skew", "snapshot.parallel": "parallel", "snapshot.tries": "tries", "snapshot.node_bandwidth": "node-bandwidth",
	"snapshot.timeout": "time-limit",
	"drill.runtime":    "runtime", "drill.image": "image", "drill.program": "program", "drill.probes": "probes", "drill.from": "from", "drill.shards": "shards", "drill.replicas": "replicas", "schedule.snapshot": "snapshot-schedule", "schedule.drill": "drill-schedule",
	"schedule.prune": "prune-schedule", "retention.keep_last": "keep-last", "retention.keep_hourly": "keep-hourly", "retention.keep_daily": "keep-daily",
	"retention.keep_weekly": "keep-weekly", "retention.keep_monthly": "keep-monthly", "retention.keep_yearly": "keep-yearly",
	"retention.keep_minimum": "keep-minimum", "retention.orphans_older": "orphans-older", "retention.time_zone": "time-zone",
}

// byFlag names problems after the flags they were given by, not after keys of
// a file that there may not even be.
func byFlag(err error, given func(name string) bool) error {
	var invalid *config.Invalid
	if !errors.As(err, &invalid) {
		return err
	}
	for i := range invalid.Problems {
		p := &invalid.Problems[i]
		key, _, _ := strings.Cut(p.Path, "[")
		if name := flagOf[key]; name != "" && given(name) {
			p.Path = "--" + name
		}
	}
	return err
}

// access is how the cluster's nodes are reached. The password is read here,
// anew at each run, because it rotates.
func (a *app) access(c *config.Config) (*cluster.Access, error) {
	access := &cluster.Access{Username: c.Cluster.Username, Timeout: c.Cluster.Timeout, NAT: cluster.NAT(c.Cluster.NAT)}
	if len(a.flags.nat) > 0 {
		nat, err := cluster.ParseNAT(a.flags.nat)
		if err != nil {
			return nil, err
		}
		access.NAT = nat
	}
	password, err := a.password(c.Cluster)
	if err != nil {
		return nil, err
	}
	access.Password = cluster.Secret(password)
	files, secure := a.flags.tlsFiles, a.flags.tls
	if t := c.Cluster.TLS; t != nil && files == (cluster.TLSFiles{}) {
		files = cluster.TLSFiles{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
		secure = true
	}
	if secure || files != (cluster.TLSFiles{}) {
		access.TLS, err = cluster.LoadTLS(files)
	}
	return access, err
}

// passwordEnv are the environment variables that hold the password where
// nothing else was said: ours, and redis-cli's.
var passwordEnv = []string{"SLOTARK_PASSWORD", "REDISCLI_AUTH"}

func (a *app) password(c config.Cluster) (string, error) {
	if c.PasswordFile == "" && c.PasswordEnv == "" {
		for _, name := range passwordEnv {
			if password := os.Getenv(name); password != "" {
				return password, nil
			}
		}
		return "", nil
	}
	password, warning, err := c.Password()
	if warning != "" {
		fmt.Fprintf(a.stderr, "slotark: warning: %s\n", warning)
	}
	return password, err
}

// Arguments: cobra's own messages do not say what to do.

func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	advice := "see which there are: " + cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		advice = "perhaps you mean " + cmd.CommandPath() + " " + near[0] + "; " + advice
	}
	return hint.Add(usageError{fmt.Errorf("there is no verb %q", args[0])}, advice)
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return hint.Add(usageError{fmt.Errorf("%s takes one snapshot: its id, the beginning of it, or \"latest\"", cmd.CommandPath())}, "see which there are: slotark list")
	}
	return nil
}

func atLeastOneID(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return hint.Add(usageError{fmt.Errorf("%s takes snapshots (an id, the beginning of one, or \"latest\"), dumps, append-only files or folders", cmd.CommandPath())}, "see which snapshots there are: slotark list")
	}
	return nil
}
