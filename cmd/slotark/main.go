package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/slotark/slotark/internal/config"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage/seal"
	"github.com/spf13/cobra"
)

// version is set at build time by the linker.
var version = "dev"

// Exit codes. They are an interface: scripts and cron depend on them.
const (
	exitDone         = 0
	exitFailed       = 1
	exitUsage        = 2
	exitFindings     = 3
	exitNoRepository = 10
	exitNoIdentity   = 12
	exitRefused      = 13
	exitInterrupted  = 130
)

const exitStatus = `
EXIT STATUS
   0  done
   1  failed: the message says what and what to do
   2  wrong usage or configuration
   3  done, but with findings (a mirror behind, damage found, a drill not proved, a warning of doctor)
  10  there is no repository at the given place
  12  cannot decrypt: no identity was given, or another's
  13  refused before anything was changed (an unhealthy cluster, missing rights, a target that is not empty)
 130  interrupted`

var (
	// errFindings ends a verb that did its work and found something wrong. The
	// verb has printed it; there is nothing more to say.
	errFindings = errors.New("done, with findings")
	// errUsage marks what the person who called has to correct.
	errUsage = errors.New("wrong usage")
)

// toldError is an error that the verb has told a person when it came, because it
// went on with something else.
type toldError struct{ error }

func (t toldError) Unwrap() error { return t.error }

// usageError is an error in the command line or the configuration.
type usageError struct{ error }

func (u usageError) Unwrap() []error { return []error{u.error, errUsage} }

// softMemory is from where on memory is collected more eagerly: what is in use is
// less, and the promise is 256 MiB.
const softMemory = 200 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: everything but the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &app{stdout: stdout, stderr: stderr}
	app.terminal, _ = stderr.(*os.File) // progress is drawn where messages go
	root := newRootCommand(app)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	running, stop := context.WithCancel(ctx)
	err := root.ExecuteContext(running)
	stop()
	app.limits.watching.Wait()
	// What is wrong with a flag ends the parsing, perhaps before it came here.
	app.json = app.json || slices.Contains(args, "--json")
	code := exitCode(ctx, err)
	app.explain(err, code)
	return code
}

// exitCode is the one table that turns errors into exit codes.
func exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errFindings): // first: what was done is there, whatever came afterwards
		return exitFindings
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, catalog.ErrNoRepository):
		return exitNoRepository
	case errors.Is(err, seal.ErrNoIdentity):
		return exitNoIdentity
	case errors.Is(err, snapshot.ErrDisturbed): // whatever the cluster became: it had begun
		return exitFailed
	case errors.Is(err, hint.ErrRefused):
		return exitRefused
	}
	return exitFailed
}

// explain says on stderr why the program ends: one line, and one for each hint.
func (a *app) explain(err error, code int) {
	var told toldError
	if err == nil || errors.Is(err, errFindings) || !a.json && errors.As(err, &told) {
		return
	}
	text := oneLine(err)
	if code == exitInterrupted && errors.Is(err, context.Canceled) {
		text = "interrupted"
		if errors.Is(err, hint.ErrLeft) {
			text += ": " + oneLine(err)
		} else {
			text += "; nothing is left of what was begun"
		}
	}
	if a.json {
		writeJSON(a.stderr, exitError{"exit_error", code, text, hints(err)})
		return
	}
	var invalid *config.Invalid
	if errors.As(err, &invalid) { // several things to mend, a line each
		text = err.Error()
	}
	a.tell(text, err)
}

// tell says what failed, and what to do.
func (a *app) tell(text string, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(a.stderr, "slotark: %s\n", line)
	}
	for _, h := range hints(err) {
		fmt.Fprintf(a.stderr, "slotark: hint: %s\n", h)
	}
}

// hints are what to do, all in one form: as part of the line that they end.
func hints(err error) []string {
	all := hint.Of(err)
	for i, h := range all {
		h = strings.TrimSuffix(h, ".")
		// A capital that begins a sentence, not a name such as FLUSHALL.
		if first, size := utf8.DecodeRuneInString(h); len(h) > size && unicode.IsLower(rune(h[size])) {
			h = string(unicode.ToLower(first)) + h[size:]
		}
		all[i] = h
	}
	return all
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "slotark",
		Short: "Backup and recovery for Redis Cluster and Valkey Cluster",
		Long: `slotark takes cluster-wide snapshots of Redis Cluster and Valkey Cluster, proves
them whole, keeps them in one or more stores, and restores them.
` + exitStatus,
		Example: `  slotark doctor   --node 127.0.0.1:7001
  slotark snapshot --node 127.0.0.1:7001 --repo /var/backups/redis --mirror 's3://bucket/prefix?region=eu-west-1'
  slotark list     --repo /var/backups/redis
  slotark drill    --repo /var/backups/redis
  slotark restore latest --repo /var/backups/redis --to 10.0.2.10:6379,10.0.2.11:6379,10.0.2.12:6379`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args:          unknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("slotark {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint.Add(usageError{err}, "see "+cmd.CommandPath()+" --help")
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SuggestionsMinimumDistance = 2 // letters that differ
	a.addFlags(root.PersistentFlags())
	root.AddCommand(newDoctorCommand(a), newSnapshotCommand(a), newListCommand(a), newShowCommand(a), newVerifyCommand(a), newDiffCommand(a),
		newRestoreCommand(a), newResealCommand(a), newDrillCommand(a), newPruneCommand(a), newHoldCommand(a), newMirrorCommand(a), newStorageCommand(a),
		newServeCommand(a), newAgentCommand(a), newVersionCommand(a))
	return root
}
