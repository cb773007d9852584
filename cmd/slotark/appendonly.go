package main

import (
	"context"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

func verifyAppendOnly(ctx context.Context, a *app, path string) (bool, error) {
	show := newDisplay(a.terminal, a.json)
	report, err := verify.AppendOnly(ctx, path, show.Func())
	show.Close()
	if err != nil {
		return false, err
	}
	a.printAppendOnly(path, report)
	return report.Err() == nil, nil
}

func (a *app) printAppendOnly(path string, r *aof.Report) {
	if a.json {
		a.emit(newAppendOnlyMessage(path, r))
		return
	}
	fmt.Fprintf(a.stdout, "%s  append-only files%s\n", path, timeRange(r))
	rows := [][]string{{"  FILE", "TYPE", "SIZE", "KEYS", "COMMANDS", "WHOLE UP TO"}}
	for i := range r.Files {
		f := &r.Files[i]
		keys := "-"
		if f.Dump != nil {
			keys = human.Count(f.Dump.Keys)
		}
		rows = append(rows, []string{"  " + f.Name, fileType(f), human.Size(f.Bytes), keys, human.Count(f.Commands), fmt.Sprintf("byte %d", f.SafeEnd)})
	}
	fmt.Fprint(a.stdout, table(rows))
	switch {
	case len(r.Findings) == 0:
		fmt.Fprintln(a.stdout, "  sound: a server loads all of it")
	case r.Err() == nil:
		fmt.Fprintln(a.stdout, "  sound: a server loads all of it; to look at:")
	case r.Loadable():
		fmt.Fprintln(a.stdout, "  damaged: a server with aof-load-truncated yes would start without what follows the damage, and say nothing to its clients")
	default:
		fmt.Fprintln(a.stdout, "  damaged: a server does not start with it")
	}
	fmt.Fprint(a.stdout, findingRows(appendOnlyFindings(r)))
}

// fileType is "base" or "incr"; the one file of an old server is neither.
func fileType(f *aof.FileReport) string {
	if f.Type == 0 {
		return "-"
	}
	return f.Type.String()
}

func timeRange(r *aof.Report) string {
	first, last := r.Range()
	if first.IsZero() {
		return ""
	}
	return fmt.Sprintf(", commands of %s to %s", human.Moment(first), human.Moment(last))
}

func appendOnlyFindings(r *aof.Report) []manifest.Finding {
	var findings []manifest.Finding
	for _, d := range r.Findings {
		subject := fmt.Sprintf("%s byte %d", d.File, d.Offset)
		if d.Line > 0 {
			subject = fmt.Sprintf("%s line %d", d.File, d.Line)
		}
		findings = append(findings, manifest.Finding{Code: d.Code, Severity: string(d.Severity), Subject: subject, Detail: d.Detail})
	}
	return findings
}

type appendOnlyMessage struct {
	Type     string                  `json:"message_type"` // "append_only"
	Path     string                  `json:"path"`
	Sound    bool                    `json:"sound"`
	Loadable bool                    `json:"loadable"` // with aof-load-truncated yes, perhaps without its end
	Files    []appendOnlyFileMessage `json:"files"`
	First    *time.Time              `json:"first,omitempty"`
	Last     *time.Time              `json:"last,omitempty"`
	Findings []manifest.Finding      `json:"findings,omitempty"`
}

type appendOnlyFileMessage struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // "base", "incr", or "-" for the one file of an old server
	Bytes    int64  `json:"bytes"`
	Keys     uint64 `json:"keys"` // of the dump it begins with
	Commands uint64 `json:"commands"`
	SafeEnd  int64  `json:"whole_bytes"` // behind the last command that is whole
}

func newAppendOnlyMessage(path string, r *aof.Report) appendOnlyMessage {
	msg := appendOnlyMessage{Type: "append_only", Path: path, Sound: r.Err() == nil, Loadable: r.Loadable(),
		Files: []appendOnlyFileMessage{}, Findings: appendOnlyFindings(r)}
	if first, last := r.Range(); !first.IsZero() {
		msg.First, msg.Last = &first, &last
	}
	for i := range r.Files {
		f := &r.Files[i]
		file := appendOnlyFileMessage{Name: f.Name, Type: fileType(f), Bytes: f.Bytes, Commands: f.Commands, SafeEnd: f.SafeEnd}
		if f.Dump != nil {
			file.Keys = f.Dump.Keys
		}
		msg.Files = append(msg.Files, file)
	}
	return msg
}
