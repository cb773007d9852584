package main

import (
	"context"
	"fmt"
	"github.com/slotark/slotark/internal/human"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/verify"
	"github.com/spf13/cobra"
)

type verifyOptions struct {
	level string
	live  bool
}

func newVerifyCommand(a *app) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify ID|FILE|FOLDER ...",
		Short: "Prove that a snapshot, a bare dump.rdb or an appendonlydir is whole",
		Long: `Verify snapshots in every store that should have them, bare dump files, or a
server's append-only files (their folder, their manifest, or the one file that
servers before 7.0 wrote).

Levels, each with all that comes before it:
  exists    every object is there and has its size
  checksum  every object's stored bytes give the SHA-256 of the manifest; of an
            encrypted snapshot too, without an identity
  parse     every object opens, every dump is sound: structure, CRC64, every key
            in a slot of its shard, keys per slot as recorded

With --live the running cluster at --node is compared with the snapshot instead,
slot by slot and key by key: after a restore by --to-dir, for example.
` + exitStatus,
		Example: `  slotark verify latest --repo /var/backups/redis
  slotark verify 20260131T02 --level checksum --repo 's3://acme-eu/redis?region=eu-west-1'
  slotark verify /var/lib/redis/dump.rdb
  slotark verify /var/lib/redis/appendonlydir
  slotark verify latest --live --node 10.0.2.10:6379 --repo /var/backups/redis`,
		Args: atLeastOneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			sound := true
			for _, arg := range args {
				ok, err := runVerify(cmd.Context(), a, cmd, o, arg)
				if err != nil {
					return err
				}
				sound = sound && ok
			}
			if !sound {
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.level, "level", string(verify.Parse), "how much to prove: exists, checksum or parse")
	a.addIdentityFlag(cmd.Flags())
	cmd.Flags().BoolVar(&o.live, "live", false, "compare the running cluster at --node with the snapshot")
	return cmd
}

// runVerify verifies one snapshot or file, prints what came of it, and tells
// whether it is sound.
func runVerify(ctx context.Context, a *app, cmd *cobra.Command, o verifyOptions, what string) (bool, error) {
	level, err := verify.ParseLevel(o.level)
	if err != nil {
		return false, usageError{err}
	}
	if isFile(what) {
		return verifyPath(ctx, a, what)
	}
	need := needStores
	if o.live {
		need |= needCluster
	}
	s, err := a.settings(ctx, cmd, need)
	if err != nil {
		return false, err
	}
	repository, snapshot, err := s.find(ctx, what)
	if err != nil {
		return false, err
	}
	if o.live || level == verify.Parse {
		if err := s.unlock(a, snapshot); err != nil {
			return false, err
		}
	}
	if o.live {
		return a.compareLive(ctx, s, snapshot)
	}
	show := newDisplay(a.terminal, a.json)
	report, err := verify.Run(ctx, verify.Options{Snapshot: snapshot, Level: level, Progress: show.Func()})
	show.Close()
	if err != nil {
		return false, err
	}
	a.printVerification(snapshot, report)
	a.keepRecord(ctx, repository, catalog.VerificationName(snapshot.Manifest.Cluster, snapshot.Manifest.ID, report.Record.ID), report.Record)
	return report.Record.Sound, nil
}

// isFile tells a path from an id: what looks like a path or is there as a file.
func isFile(what string) bool {
	if strings.ContainsAny(what, "/.") {
		return true
	}
	_, err := os.Stat(what)
	return err == nil
}

// verifyPath verifies what is not in a repository: a dump, or append-only files.
func verifyPath(ctx context.Context, a *app, path string) (bool, error) {
	appendOnly, err := verify.IsAppendOnly(path)
	if err != nil {
		return false, err
	}
	if appendOnly {
		return verifyAppendOnly(ctx, a, path)
	}
	return verifyFile(ctx, a, path)
}

func verifyFile(ctx context.Context, a *app, path string) (bool, error) {
	show := newDisplay(a.terminal, a.json)
	report, err := verify.File(ctx, path, show.Func())
	show.Close()
	if err != nil {
		return false, err
	}
	a.printFile(report)
	return report.Damage == nil, nil
}

func (a *app) compareLive(ctx context.Context, s *settings, snapshot *catalog.Snapshot) (bool, error) {
	show := newDisplay(a.terminal, a.json)
	comparison, err := verify.CompareLive(ctx, verify.CompareOptions{
		Snapshot: snapshot, Access: s.access, Seeds: s.Cluster.Nodes, Progress: show.Func(),
	})
	show.Close()
	if err != nil {
		return false, err
	}
	a.printComparison(comparison)
	return comparison.Equal(), nil
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

func (a *app) printVerification(s *catalog.Snapshot, r *verify.Report) {
	if a.json {
		a.emit(newVerificationMessage(s, r))
		return
	}
	m := s.Manifest
	fmt.Fprintf(a.stdout, "%s  %s, taken %s, %s, %s keys\n", m.ID, m.Cluster, human.Moment(m.Started), dumpLine(m), human.Count(m.Keys()))
	if r.Record.Sound {
		fmt.Fprintf(a.stdout, "  sound at level %s in %s: %s, %s read in %s\n", r.Record.Level, strings.Join(r.Record.Stores, " and "),
			human.Plural(r.Objects, "object"), human.Size(r.Read), human.Duration(r.Record.Ended.Sub(r.Record.Started)))
		return
	}
	fmt.Fprintf(a.stdout, "  damaged: %s\n", human.Plural(len(r.Record.Findings), "finding"))
	var rows [][]string
	for _, f := range r.Record.Findings {
		rows = append(rows, []string{"    " + f.Code, f.Subject, f.Detail})
	}
	fmt.Fprint(a.stdout, table(rows))
	fmt.Fprintln(a.stdout, "Restore from a store without findings, or from another snapshot: slotark list")
}

func (a *app) printFile(r *verify.FileReport) {
	if a.json {
		a.emit(newFileMessage(r))
		return
	}
	d := r.Dump
	head := r.Path
	if d != nil && d.Version > 0 {
		head += fmt.Sprintf("  RDB %d, %s %s", d.Version, engineName(d.Engine), auxVersion(d.Aux))
		if !d.Created.IsZero() {
			head += ", written " + human.Moment(d.Created)
		}
	}
	fmt.Fprintf(a.stdout, "%s, %s\n", head, human.Size(r.Bytes))
	if r.Damage != nil {
		fmt.Fprintf(a.stdout, "  damaged: 1 finding\n    %s\nWhat comes after the damage was not read; what came before it cannot be trusted.\n", r.Damage)
		return
	}
	fmt.Fprintf(a.stdout, "  sound: %s keys, %s of them expiring%s\n", human.Count(d.Keys), human.Count(d.Expiring), typeCounts(d.Types))
	if r.Unverifiable {
		fmt.Fprintln(a.stdout, "  unverifiable: it has no CRC64 (rdbchecksum no), so a flipped bit inside a value could not be seen")
	}
}

// auxVersion is the server's version as the dump's AUX fields give it.
func auxVersion(aux map[string]string) string {
	for _, name := range []string{"redis-ver", "valkey-ver"} {
		if v := aux[name]; v != "" {
			return v
		}
	}
	return "of unknown version"
}

// typeCounts is ": 40 hashes, 60 strings", the most frequent first.
func typeCounts(types map[string]uint64) string {
	names := make([]string, 0, len(types))
	for name := range types {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int { return int(int64(types[y]) - int64(types[x])) })
	text := ""
	for i, name := range names {
		if i == 0 {
			text = ": "
		} else {
			text += ", "
		}
		text += fmt.Sprintf("%s %s", human.Count(types[name]), name)
	}
	return text
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
	text := fmt.Sprintf("NOT equal: %s\n", human.Plural(len(c.Findings), "finding"))
	var rows [][]string
	for _, f := range c.Findings {
		rows = append(rows, []string{"  " + f.Code, f.Subject, f.Detail})
	}
	return text + table(rows)
}

func expiredNote(expired uint64) string {
	if expired == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s had expired since)", human.Count(expired))
}
