package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/verify"
	"github.com/spf13/cobra"
)

type verifyOptions struct {
	level     string
	live      bool
	anyLayout bool
}

func newVerifyCommand(a *app) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify ID|FILE|FOLDER ...",
		Short: "Prove that snapshots, dumps and append-only files are whole",
		Long: `Verify snapshots in every store that should have them, dumps, a server's
append-only files (their folder, their manifest, or the one file that servers
before 7.0 wrote), or all of these that a folder holds, such as a data folder.

Levels, each with all that comes before it:
  exists    every object of a snapshot is there and has its size
  checksum  every object's stored bytes give the SHA-256 of the manifest; of an
            encrypted snapshot too, without an identity
  parse     every object opens, every dump is sound: structure, CRC64, every key
            in a slot of its shard, keys per slot as recorded
  deep      and so is every value in it: its own structure, no name twice, and
            a digest of all of them

What lies in no repository has nothing to be held against but itself: there the
levels are parse and deep.

With --live the running cluster at --node is compared with the snapshot instead,
slot by slot and key by key: after a restore by --to-dir, for example; with
--any-layout also one that was restored onto other shards.

Of several the others are still verified where one cannot be; the exit status is
3 if any is damaged, else that of the first that could not be verified.
` + exitStatus,
		Example: `  slotark verify latest --repo /var/backups/redis
  slotark verify 20260131T02 --level checksum --repo 's3://acme-eu/redis?region=eu-west-1'
  slotark verify dump.rdb --level parse
  slotark verify /var/lib/redis
  slotark verify latest --live --node 10.0.2.10:6379 --repo /var/backups/redis`,
		Args: atLeastOneID,
		RunE: func(cmd *cobra.Command, args []string) error { return runVerify(cmd.Context(), a, cmd, o, args) },
	}
	cmd.Flags().StringVar(&o.level, "level", string(verify.Deep), "how much to prove: exists, checksum, parse or deep")
	a.addIdentityFlag(cmd.Flags())
	cmd.Flags().BoolVar(&o.live, "live", false, "compare the running cluster at --node with the snapshot")
	cmd.Flags().BoolVar(&o.anyLayout, "any-layout", false, "with --live: slots may be on other shards than in the snapshot")
	return cmd
}

// fileMemory is about how much memory verifying files may take, the program's
// own text apart. What is in use is bounded and less; this has outgrown tables
// collected in time, which are as large again.
const fileMemory = 40 << 20

// verifying is one run of verify.
type verifying struct {
	*app
	level    verify.Level
	live     bool
	layout   bool      // may be another than the snapshot's
	settings *settings // nil where no snapshot is asked for
	sound    int
	damaged  int
	failures []error
}

// subject is one thing that is to be verified.
type subject struct {
	snapshot string         // what names it; "": it is in no repository
	target   *verify.Target // in no repository
	folder   string         // of the first of what a folder holds: its path
	found    *verify.Found  // what that holds
	err      error          // why there is nothing to be verified
}

// runVerify verifies each of several things, prints what came of each, and
// returns an error unless all of them are sound.
func runVerify(ctx context.Context, a *app, cmd *cobra.Command, o verifyOptions, args []string) error {
	level, err := verify.ParseLevel(o.level)
	if err == nil && o.anyLayout && !o.live {
		err = errors.New("--any-layout goes with --live")
	}
	if err != nil {
		return usageError{err}
	}
	v := &verifying{app: a, level: level, live: o.live, layout: o.anyLayout}

	// What a person has to correct comes before anything is read.
	for _, arg := range args {
		if isFile(arg) {
			err = v.checkPath(arg)
		} else if v.settings == nil {
			v.settings, err = a.settings(ctx, cmd, v.needs())
		}
		if err != nil {
			return err
		}
	}

	if v.settings == nil {
		debug.SetMemoryLimit(fileMemory)
	}
	subjects := v.subjects(args)
	for _, s := range subjects {
		if s.found != nil {
			v.printFolder(s.folder, s.found)
		}
		if err := v.verify(ctx, s, len(subjects) == 1); err != nil {
			return err
		}
	}
	if len(subjects) > 1 {
		v.printSummary(len(subjects))
	}
	switch {
	case v.damaged > 0:
		return errFindings
	case len(v.failures) > 0:
		return toldError{v.failures[0]}
	}
	return nil
}

func (v *verifying) needs() need {
	if v.live {
		return needStores | needCluster
	}
	return needStores
}

// checkPath refuses flags that mean nothing for what is in no repository.
func (v *verifying) checkPath(path string) error {
	if v.live {
		return usageError{fmt.Errorf("--live compares a cluster with a snapshot, and %s is a path", path)}
	}
	if !v.level.Inspects() {
		return hint.Add(usageError{fmt.Errorf("--level %s is for snapshots: %s has no manifest to be held against", v.level, path)},
			"--level parse or --level deep")
	}
	return nil
}

// isFile tells a path from an id: what looks like a path or is there as a file.
func isFile(what string) bool {
	if strings.ContainsAny(what, "/.") {
		return true
	}
	_, err := os.Stat(what)
	return err == nil
}

// subjects are what the arguments stand for: a folder for all that it holds.
func (v *verifying) subjects(args []string) []subject {
	var all []subject
	for _, arg := range args {
		if !isFile(arg) {
			all = append(all, subject{snapshot: arg})
			continue
		}
		found, err := verify.Find(arg)
		if err != nil {
			all = append(all, subject{err: err})
			continue
		}
		for i := range found.Targets {
			s := subject{target: &found.Targets[i]}
			if found.Folder && i == 0 {
				s.folder, s.found = arg, found
			}
			all = append(all, s)
		}
	}
	return all
}

// verify verifies one of them and counts what came of it. An error ends the
// run: it is the only one that was asked for, or there is no time for more.
func (v *verifying) verify(ctx context.Context, s subject, only bool) error {
	sound, err := false, s.err
	switch {
	case err != nil:
	case s.target == nil:
		sound, err = v.verifySnapshot(ctx, s.snapshot)
	case s.target.AppendOnly:
		sound, err = v.verifyAppendOnly(ctx, s.target.Path)
	default:
		sound, err = v.verifyFile(ctx, s.target.Path)
	}
	switch {
	case err != nil && (only || ctx.Err() != nil):
		return err
	case err != nil:
		v.failures = append(v.failures, err)
		v.printFailure(err)
	case sound:
		v.sound++
	default:
		v.damaged++
	}
	if err == nil && !only && !v.json {
		fmt.Fprintln(v.stdout) // the next report, or the summary, follows
	}
	return nil
}

// verifySnapshot verifies one snapshot, or compares the cluster with it.
func (v *verifying) verifySnapshot(ctx context.Context, ref string) (bool, error) {
	repository, snapshot, err := v.settings.find(ctx, ref)
	if err != nil {
		return false, err
	}
	if v.live || v.level.Inspects() {
		if err := v.settings.unlock(v.app, snapshot); err != nil {
			return false, err
		}
	}
	if v.live {
		return v.compareLive(ctx, snapshot)
	}
	report, err := shown(v.app, func(show progress.Func) (*verify.Report, error) {
		return verify.Run(ctx, verify.Options{Snapshot: snapshot, Level: v.level, Progress: show})
	})
	if err != nil {
		return false, err
	}
	v.printVerification(snapshot, report)
	v.keepRecord(ctx, repository, catalog.VerificationName(snapshot.Manifest.Cluster, snapshot.Manifest.ID, report.Record.ID), report.Record)
	return report.Record.Sound, nil
}

func (v *verifying) verifyFile(ctx context.Context, path string) (bool, error) {
	report, err := shown(v.app, func(show progress.Func) (*verify.FileReport, error) {
		return verify.File(ctx, path, v.level, show)
	})
	if err != nil {
		return false, err
	}
	v.printFile(report)
	return report.Damage == nil, nil
}

func (v *verifying) verifyAppendOnly(ctx context.Context, path string) (bool, error) {
	report, err := shown(v.app, func(show progress.Func) (*aof.Report, error) {
		return verify.AppendOnly(ctx, path, v.level, show)
	})
	if err != nil {
		return false, err
	}
	v.printAppendOnly(path, v.level, report)
	return report.Err() == nil, nil
}

func (v *verifying) compareLive(ctx context.Context, snapshot *catalog.Snapshot) (bool, error) {
	comparison, err := shown(v.app, func(show progress.Func) (*verify.Comparison, error) {
		return verify.CompareLive(ctx, verify.CompareOptions{Snapshot: snapshot, Access: v.settings.access, Seeds: v.settings.Cluster.Nodes, AnyLayout: v.layout, Progress: show})
	})
	if err != nil {
		return false, err
	}
	v.printComparison(comparison)
	return comparison.Equal(), nil
}

// shown does something and draws how far it is meanwhile.
func shown[T any](a *app, do func(progress.Func) (T, error)) (T, error) {
	show := newDisplay(a.terminal, a.json)
	defer show.Close()
	return do(show.Func())
}

// recordLimit bounds how long storing evidence may take.
const recordLimit = 30 * time.Second

// keepRecord stores evidence. Where it cannot be stored, a person is told, and
// what it is evidence of stays as it is.
func (a *app) keepRecord(ctx context.Context, repository *catalog.Repository, name string, record any) {
	// What was done stays done when the person has had enough meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	if err := repository.PutRecord(ctx, name, record); err != nil {
		fmt.Fprintf(a.stderr, "slotark: warning: the record of this was not stored everywhere: %s\n", oneLine(err))
	}
}

// printFolder says what a folder was found to hold.
func (a *app) printFolder(path string, found *verify.Found) {
	sets := 0
	for _, target := range found.Targets {
		if target.AppendOnly {
			sets++
		}
	}
	dumps := len(found.Targets) - sets
	if a.json {
		a.emit(folderFoundMessage{"folder", path, dumps, sets, found.Unfinished})
		return
	}
	var parts []string
	if dumps > 0 {
		parts = append(parts, human.Plural(dumps, "dump"))
	}
	if sets > 0 {
		parts = append(parts, human.Plural(sets, "set")+" of append-only files")
	}
	text := fmt.Sprintf("%s holds %s", path, human.List(parts))
	if len(found.Unfinished) > 0 {
		text += fmt.Sprintf("; passed over, not written to the end: %s", strings.Join(found.Unfinished, ", "))
	}
	fmt.Fprintf(a.stdout, "%s\n\n", text)
}

// printFailure tells why one of several things could not be verified.
func (a *app) printFailure(err error) {
	if a.json {
		a.emit(verifyErrorMessage{"verify_error", oneLine(err), hints(err)})
		return
	}
	a.tell(oneLine(err), err)
}

func (v *verifying) printSummary(asked int) {
	if v.json {
		v.emit(verifySummaryMessage{"verify_summary", v.sound, v.damaged, len(v.failures)})
		return
	}
	text := fmt.Sprintf("%d sound, %d damaged", v.sound, v.damaged)
	if len(v.failures) > 0 {
		text += fmt.Sprintf(", %d not verified", len(v.failures))
	}
	fmt.Fprintf(v.stdout, "Of %d: %s\n", asked, text)
}

func (a *app) printComparison(c *verify.Comparison) {
	if a.json {
		a.emit(newComparisonMessage(c))
		return
	}
	fmt.Fprint(a.stdout, comparisonText(c))
}

// comparisonText says what a comparison of a cluster with a snapshot found.
func comparisonText(c *verify.Comparison) string {
	if c.Equal() {
		return fmt.Sprintf("equal: %s keys in %d slots, every one as in the snapshot%s; compared in %s\n",
			human.Count(c.Keys), c.Slots, expiredNote(c.Expired), human.Duration(c.Elapsed))
	}
	return fmt.Sprintf("NOT equal: %s\n", human.Plural(len(c.Findings), "finding")) + findingRows(c.Findings)
}

func expiredNote(expired uint64) string {
	if expired == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s had expired since)", human.Count(expired))
}
