package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/contract"
	"github.com/spf13/cobra"
)

func newStorageCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "storage",
		Short: "Check the stores themselves, and clean up after killed runs",
		Args:  unknownVerb,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2 // letters that differ
	cmd.AddCommand(newStorageCheckCommand(a), newStorageCleanCommand(a))
	return cmd
}

func newStorageCheckCommand(a *app) *cobra.Command {
	quick := false
	cmd := &cobra.Command{
		Use:   "check [STORE ...]",
		Short: "Try out whether stores do what backups rely on",
		Long: `Try stores out, those of the repository or those that are named: what is written
is seen at once and never overwritten, of two writers one wins, what fails leaves
nothing, parts can be read, what is missing is said to be, and more than 1,000
objects are listed. And what a person should know: what the credentials allow and
which role they fit, the clock, versions and locks of a bucket, room on a disk, speed.

Everything happens below a fresh folder slotark-check-..., which is removed again,
also after Ctrl-C; what could not be removed is named. A whole check sends about
280 MB and 1,200 objects to each store, one with --quick 18 MB and 60.

Exit status 3 means that a check has failed; warnings alone are 0.
` + exitStatus,
		Example: `  slotark storage check --repo /var/backups/redis
  slotark storage check 's3://acme-eu/redis?region=eu-west-1' --quick
  slotark storage check --config slotark.yaml --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStorageCheck(cmd.Context(), a, cmd, args, quick)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "leave out what sends many megabytes or a thousand objects")
	return cmd
}

// storesOf opens the stores that are named, or those of the repository.
func (a *app) storesOf(ctx context.Context, cmd *cobra.Command, urls []string, needs need) (*settings, []storage.Named, error) {
	if len(urls) == 0 {
		s, err := a.settings(ctx, cmd, needStores|needWrites|needs)
		if err != nil {
			return nil, nil, err
		}
		return s, s.stores, nil
	}
	s, err := a.settings(ctx, cmd, needWrites)
	if err != nil {
		return nil, nil, err
	}
	stores, err := a.openURLs(ctx, urls, s.Config, needs)
	return s, stores, err
}

// runStorageCheck checks one store after the other, also where one cannot be
// reached.
func runStorageCheck(ctx context.Context, a *app, cmd *cobra.Command, urls []string, quick bool) error {
	_, stores, err := a.storesOf(ctx, cmd, urls, needLocks)
	if err != nil {
		return err
	}
	failed := false
	var unreached error
	for _, store := range stores {
		var findings []contract.Finding
		err := contract.Examine(ctx, store, contract.Options{Folder: "slotark-check-" + strings.ToLower(rand.Text()[:8]), Quick: quick}, func(f contract.Finding) {
			findings = append(findings, f)
			failed = failed || f.Result == contract.Fail
			if a.json {
				a.emit(newStorageFinding(store.Name, f))
			}
		})
		if !a.json && len(findings) > 0 {
			a.printExamination(store, findings)
		}
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			if len(stores) > 1 {
				a.printFailure(err)
				err = toldError{err}
			}
			unreached = errors.Join(unreached, err)
		}
	}
	if failed {
		return errFindings
	}
	return unreached
}

// shortDetail is how many cells a detail may take to stand in its check's line.
const shortDetail = 60

func (a *app) printExamination(store storage.Named, findings []contract.Finding) {
	fmt.Fprintf(a.stdout, "%s  %s\n", store.Name, store)
	counts := map[contract.Result]int{}
	words := map[contract.Result]string{contract.OK: "ok", contract.Warn: "warn", contract.Fail: "FAIL"}
	var rows [][]string
	for _, f := range findings {
		counts[f.Result]++
		note := f.Detail
		if note == "" || width(note) > shortDetail {
			note = human.Duration(f.Elapsed)
		}
		rows = append(rows, []string{"  " + words[f.Result], f.Check, note})
	}
	i := 0
	for line := range strings.Lines(table(rows)) {
		fmt.Fprint(a.stdout, line)
		if detail := findings[i].Detail; width(detail) > shortDetail {
			fmt.Fprint(a.stdout, wrapped(detail, "        "))
		}
		if advice := findings[i].Advice; advice != "" {
			fmt.Fprint(a.stdout, wrapped("-> "+advice, "        "))
		}
		i++
	}
	fmt.Fprintf(a.stdout, "  %d ok, %s, %d failed\n\n", counts[contract.OK], human.Plural(counts[contract.Warn], "warning"), counts[contract.Fail])
}

type storageFinding struct {
	Type    string          `json:"message_type"` // "storage_check"
	Store   string          `json:"store"`
	Check   string          `json:"check"`
	Result  contract.Result `json:"result"`
	Detail  string          `json:"detail,omitempty"`
	Advice  string          `json:"advice,omitempty"`
	Elapsed catalog.Seconds `json:"elapsed_seconds"`
}

func newStorageFinding(store string, f contract.Finding) storageFinding {
	return storageFinding{"storage_check", store, f.Check, f.Result, f.Detail, f.Advice, catalog.Seconds(f.Elapsed)}
}
