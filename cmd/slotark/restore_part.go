package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/slotark/slotark/internal/atomicfile"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/internal/progress"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/part"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// partOptions are those of a restore of some keys.
type partOptions struct {
	into, keys, patterns, types []string
	slots                       string
	existing                    string
	diff                        bool
	out, format                 string
}

func (o *partOptions) addFlags(set *pflag.FlagSet) {
	set.StringSliceVar(&o.into, "into", nil, "nodes of a running cluster that keys are put into, one that answers is enough: `ADDR,...`")
	set.StringVar(&o.out, "out", "", "a new `FILE` that keys are written to; - is standard output")
	set.StringVar(&o.format, "format", "", "of --out, `FORMAT`: rdb, a dump (by itself of FILE.rdb), or resp, commands for redis-cli --pipe")
	set.StringArrayVar(&o.keys, "key", nil, "the key of this `NAME`; may be given again")
	set.StringArrayVar(&o.patterns, "match", nil, "keys of this `PATTERN`, as KEYS takes it; may be given again")
	set.StringVar(&o.slots, "slots", "", "keys of these slots alone: `RANGES` such as 0-99,200")
	set.StringSliceVar(&o.types, "type", nil, "keys of these `TYPES` alone: string, list, set, zset, hash, stream")
	set.StringVar(&o.existing, "existing", string(part.Fail), "what becomes of a key that the cluster has otherwise, `RULE`: fail (nothing is written), skip or replace")
	set.BoolVar(&o.diff, "diff", false, "with --into: only show what would be written")
}

// asked tells whether it is about some keys.
func (o *partOptions) asked() bool {
	return len(o.into) > 0 || o.out != "" || len(o.keys) > 0 || len(o.patterns) > 0 || o.slots != "" || len(o.types) > 0 || o.diff
}

// selection is which keys are asked for. What contradicts itself is an error.
func (o *partOptions) selection(whole restoreOptions) (part.Selection, error) {
	selection := part.Selection{Patterns: o.patterns}
	for _, key := range o.keys {
		selection.Keys = append(selection.Keys, []byte(key))
	}
	var err error
	if selection.Types, err = part.ParseTypes(o.types); err != nil {
		return selection, fmt.Errorf("--type: %w", err)
	}
	if o.slots != "" {
		if selection.Slots, err = slot.Parse(o.slots); err != nil {
			return selection, fmt.Errorf("--slots %s: %w", o.slots, err)
		}
	}
	switch {
	case len(whole.to) > 0 || whole.toDir != "":
		return selection, errors.New("--to and --to-dir rebuild a whole cluster: keys alone go --into ADDR,... a running one, or --out FILE")
	case len(whole.at) > 0 || whole.fromAOF || whole.plan || whole.resume || whole.shards != 0 || len(whole.slots) > 0 || len(whole.zones) > 0 || len(whole.apply.Config) > 0 || whole.apply.Users || whole.logical || whole.replicas != restore.AllReplicas || whole.one.node != "" || whole.one.bases:
		return selection, errors.New("--apply-config, --apply-users, --at, --node, --append-only, --from-aof, --keep-partial, --logical, --plan, --resume, --replicas, --shards, --shard-slots and --zone go with --to or --to-dir")
	case whole.replace != (restore.Replacing{}):
		return selection, errors.New("--replace empties whole nodes, and goes with --to; of keys alone: --existing replace")
	case (len(o.into) == 0) == (o.out == ""):
		return selection, errors.New("say where to: either --into ADDR,... or --out FILE")
	case selection.Empty():
		return selection, errors.New("say which keys: --key NAME, --match PATTERN, --slots RANGES or --type TYPES; --match '*' is all of them")
	case o.existing != string(part.Fail) && o.existing != string(part.Skip) && o.existing != string(part.Replace):
		return selection, fmt.Errorf("--existing %s: want fail, skip or replace", o.existing)
	case o.diff && o.out != "":
		return selection, errors.New("--diff goes with --into")
	case o.format != "" && o.out == "":
		return selection, errors.New("--format goes with --out")
	case o.out != "" && o.formatOf() == "":
		return selection, errors.New("say what kind of file: --format rdb or --format resp")
	}
	return selection, nil
}

// formatOf is the format of the file; "" where nothing says it.
func (o *partOptions) formatOf() part.Format {
	switch {
	case o.format == string(part.RDB), o.format == "" && filepath.Ext(o.out) == ".rdb":
		return part.RDB
	case o.format == string(part.RESP), o.format == "" && filepath.Ext(o.out) == ".resp":
		return part.RESP
	}
	return ""
}

func runRestorePart(ctx context.Context, a *app, cmd *cobra.Command, o restoreOptions, ref string) error {
	selection, err := o.part.selection(o)
	if err != nil {
		return usageError{err}
	}
	s, err := a.settings(ctx, cmd, needStores)
	if err != nil {
		return err
	}
	_, snapshot, err := s.find(ctx, ref)
	if err != nil {
		return err
	}
	if err := s.unlock(a, snapshot); err != nil {
		return err
	}
	options := part.Options{Snapshot: snapshot, Selection: selection, Into: o.part.into, Access: s.access, Existing: part.Rule(o.part.existing), Compare: o.part.diff}
	result, err := shown(a, func(show progress.Func) (*part.Result, error) {
		options.Progress = show
		if o.part.out == "" {
			return part.Restore(ctx, options)
		}
		return a.writePart(ctx, options, o.part)
	})
	if err != nil {
		return err
	}
	a.printPart(snapshot, o.part, result)
	if len(result.Findings) > 0 {
		return errFindings
	}
	return nil
}

// writePart writes keys to a file, which gets its name when it is whole.
func (a *app) writePart(ctx context.Context, options part.Options, o partOptions) (*part.Result, error) {
	if o.out == "-" {
		return part.Write(ctx, options, a.stdout, o.formatOf())
	}
	reader, writer := io.Pipe()
	var result *part.Result
	wrote := make(chan error, 1)
	go func() {
		var err error
		result, err = part.Write(ctx, options, writer, o.formatOf())
		writer.CloseWithError(err) // nil is the file's end
		wrote <- err
	}()
	_, err := atomicfile.Create(ctx, o.out, reader)
	reader.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if failed := <-wrote; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		return nil, failed
	}
	if err != nil {
		return nil, hint.Add(fmt.Errorf("write %s: %w", o.out, err), "Name a new file in a folder that is there.")
	}
	return result, nil
}

type partMessage struct {
	Type     string             `json:"message_type"` // "restore_part"
	Snapshot manifest.ID        `json:"snapshot"`
	Compared bool               `json:"compared_only"`
	Selected uint64             `json:"selected"`
	Bytes    int64              `json:"bytes"`
	Equal    uint64             `json:"equal"`
	Missing  partKeysMessage    `json:"missing"`
	Differ   partKeysMessage    `json:"differ"`
	Expired  uint64             `json:"expired"`
	Written  uint64             `json:"written"`
	Findings []manifest.Finding `json:"findings"`
	Elapsed  catalog.Seconds    `json:"elapsed_seconds"`
}

type partKeysMessage struct {
	Keys  uint64   `json:"keys"`
	Names []string `json:"names"`
}

func (a *app) printPart(s *catalog.Snapshot, o partOptions, r *part.Result) {
	out := a.stdout
	if o.out == "-" { // that is the file
		out = a.stderr
	}
	if a.json {
		keys := func(k part.Keys) partKeysMessage { return partKeysMessage{k.Count, append([]string{}, k.Names...)} }
		writeJSON(out, partMessage{"restore_part", s.Manifest.ID, o.diff, r.Selected, r.Bytes, r.Equal, keys(r.Missing), keys(r.Differ), r.Expired, r.Written,
			append([]manifest.Finding{}, r.Findings...), catalog.Seconds(r.Elapsed)})
		return
	}
	fmt.Fprintf(out, "%s of snapshot %s, as of %s\n", human.Plural(r.Selected, "key"), s.Manifest.ID, human.Moment(s.Manifest.Started))
	var rows [][]string
	row := func(name string, keys part.Keys, what string) {
		if keys.Count == 0 {
			return
		}
		names := strings.Join(keys.Names, ", ")
		if more := keys.Count - uint64(len(keys.Names)); more > 0 && names != "" {
			names += fmt.Sprintf(" and %s more", human.Count(more))
		}
		rows = append(rows, []string{"  " + name, human.Plural(keys.Count, "key"), strings.TrimSpace(what + " " + names)})
	}
	added, changed := "written:", map[string]string{string(part.Skip): "left as they are:", string(part.Replace): "replaced:"}[o.existing]
	if o.diff {
		added = "would be written:"
		changed = map[string]string{string(part.Fail): "in the way (see --existing):", string(part.Skip): "would be left as they are:", string(part.Replace): "would be replaced:"}[o.existing]
	}
	row("missing", r.Missing, added)
	row("different", r.Differ, changed)
	row("equal", part.Keys{Count: r.Equal}, "left alone")
	row("expired", part.Keys{Count: r.Expired}, "left out")
	fmt.Fprint(out, table(rows))
	for _, f := range r.Findings {
		fmt.Fprintf(out, "%s: %s: %s\n", f.Severity, f.Subject, f.Detail)
	}
	switch {
	case o.diff:
		fmt.Fprintf(out, "compared in %s; nothing was written\n", human.Duration(r.Elapsed))
	case o.out != "":
		fmt.Fprintf(out, "wrote %s to %s in %s\n", human.Plural(r.Written, "key"), o.out, human.Duration(r.Elapsed))
	default:
		fmt.Fprintf(out, "restored %s in %s\n", human.Plural(r.Written, "key"), human.Duration(r.Elapsed))
	}
}
