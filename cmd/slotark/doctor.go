package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot"
	"github.com/slotark/slotark/snapshot/preflight"
	"github.com/spf13/cobra"
)

func newDoctorCommand(a *app) *cobra.Command {
	advise := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether a snapshot could be taken, and what is not as it should be",
		Long: `Look at a cluster before anything is asked of it: whether every node answers and
all agree, whether every slot has an owner and none is on the move, what the user
may do, how saves go, whether forks and dumps have room, which versions run; and
where the cluster falls short of good practice. Every snapshot looks at the same,
the good practice apart, before it begins. With --repo it says too whether the
stores answer.

Nothing is changed and no node has to work. Rights are tried: commands that the
user may not run show in the nodes' ACL LOG. What a finding is and when it is
found: docs/doctor.md.

Errors and warnings come first, with what to do about each; advice is one line
each, and with --advice in full. Exit status 0 means ready, whatever advice there is; 3 ready, with warnings; 13
that a snapshot would be refused.
` + exitStatus,
		Example: `  slotark doctor --node 10.0.1.10:6379
  slotark doctor --node 10.0.1.10:6379 --collect stream --user slotark --password-file /etc/slotark/password
  slotark doctor --config slotark.yaml --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			examination, name, err := runDoctor(cmd.Context(), a, cmd)
			if err != nil {
				return err
			}
			return a.printExaminationOf(name, examination, advise)
		},
	}
	cmd.Flags().BoolVar(&advise, "advice", false, "say of each piece of advice, too, what to do")
	a.addCaptureFlags(cmd.Flags())
	return cmd
}

func runDoctor(ctx context.Context, a *app, cmd *cobra.Command) (*snapshot.Examination, string, error) {
	s, err := a.settings(ctx, cmd, needCluster)
	if err != nil {
		return nil, "", err
	}
	if s.Repository.Primary != "" {
		if s.stores, err = a.openStores(ctx, s.Config, needLocks); err != nil {
			return nil, "", err
		}
	}
	options, err := s.snapshotOptions()
	if err != nil {
		return nil, "", err
	}
	examination, err := snapshot.Examine(ctx, options)
	if err != nil {
		return nil, "", err
	}
	if len(s.stores) > 0 {
		examination.Add(preflight.Stores(ctx, s.stores, max(1, options.Mirroring.Require)))
	}
	return examination, s.Cluster.Name, ctx.Err()
}

type doctorFindingMessage struct {
	Type     string             `json:"message_type"` // "doctor_finding"
	Code     string             `json:"code"`
	Severity preflight.Severity `json:"severity"`
	Subject  string             `json:"subject"`
	Detail   string             `json:"detail"`
	Advice   string             `json:"advice"`
	Nodes    []string           `json:"nodes,omitempty"`
}

type doctorMessage struct {
	Type     string          `json:"message_type"` // "doctor"
	Cluster  string          `json:"cluster"`
	Ready    bool            `json:"ready"`
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Infos    int             `json:"infos"`
	Shards   int             `json:"shards"`
	Nodes    int             `json:"nodes"`
	Slots    int             `json:"slots"`
	Sources  []sourceMessage `json:"sources"`
}

// printExaminationOf prints the answer first, and then each finding with what to
// do about it; of advice that only if it is to be said in full.
func (a *app) printExaminationOf(name string, e *snapshot.Examination, advise bool) error {
	m := doctorMessage{
		Type: "doctor", Cluster: name, Errors: len(e.Of(preflight.Error)), Warnings: len(e.Of(preflight.Warning)),
		Infos: len(e.Of(preflight.Info)), Sources: []sourceMessage{},
	}
	m.Ready = m.Errors == 0
	if t := e.Topology; t != nil {
		m.Nodes, m.Slots = len(t.Members()), t.Slots().Len()
		for _, s := range t.Shards {
			if s.Slots.Len() > 0 {
				m.Shards++
			}
		}
	}
	for _, p := range e.Plan {
		m.Sources = append(m.Sources, sourceMessage{p.Slots.String(), p.Address, string(p.Role), p.LagBytes, p.Way})
	}
	if a.json {
		for _, f := range e.Findings {
			a.emit(doctorFindingMessage{"doctor_finding", f.Code, f.Severity, f.Subject, f.Detail, f.Advice, f.Nodes})
		}
		a.emit(m)
	} else {
		a.printDiagnosis(m, e)
		a.printFindings(e.Findings, advise)
	}
	switch {
	case m.Errors > 0:
		return toldError{e.Refusal()}
	case m.Warnings > 0:
		return errFindings
	}
	return nil
}

// severityWords are what a person reads at the beginning of a finding's line.
var severityWords = map[preflight.Severity]string{preflight.Error: "ERROR", preflight.Warning: "warning", preflight.Info: "advice"}

func (a *app) printDiagnosis(m doctorMessage, e *snapshot.Examination) {
	answer := m.Cluster + " is ready for a snapshot"
	var counts []string
	if !m.Ready {
		answer = m.Cluster + " is NOT ready for a snapshot"
		counts = append(counts, human.Plural(m.Errors, "error"))
	}
	if m.Warnings > 0 {
		counts = append(counts, human.Plural(m.Warnings, "warning"))
	}
	switch {
	case m.Infos == 1:
		counts = append(counts, "1 piece of advice")
	case m.Infos > 1:
		counts = append(counts, fmt.Sprintf("%d pieces of advice", m.Infos))
	}
	if len(counts) > 0 {
		answer += ": " + human.List(counts)
	}
	fmt.Fprintln(a.stdout, answer)
	if t := e.Topology; t != nil {
		facts := []string{human.Plural(m.Shards, "shard"), human.Plural(m.Nodes, "node")}
		if len(t.Shards) > 0 && t.Shards[0].Primary.Version != "" {
			facts = append(facts, engineName(t.Shards[0].Primary.Engine)+" "+t.Shards[0].Primary.Version)
		}
		facts = append(facts, fmt.Sprintf("%d of 16384 slots", m.Slots), fmt.Sprintf("epoch %d", t.CurrentEpoch))
		fmt.Fprintln(a.stdout, "  "+strings.Join(facts, ", "))
	}
	var rows [][]string
	for _, p := range e.Plan {
		rows = append(rows, []string{"  shard " + p.Slots.String(), "from " + p.String(), "by " + p.Way})
	}
	fmt.Fprint(a.stdout, table(rows))
}

// printFindings prints the findings, errors first.
func (a *app) printFindings(findings []preflight.Finding, advise bool) {
	if len(findings) > 0 {
		fmt.Fprintln(a.stdout)
	}
	brief := false
	for _, f := range findings {
		word := severityWords[f.Severity]
		if f.Severity != preflight.Info || advise {
			a.printFinding(word, fmt.Sprintf("%s [%s]", f, f.Code), f.Advice)
			continue
		}
		brief = true
		fmt.Fprintln(a.stdout, shortened(fmt.Sprintf("  %-7s  [%s] %s", word, f.Code, f), lineWidth))
	}
	if brief {
		fmt.Fprintln(a.stdout, "\nslotark doctor --advice says what to do about these; no snapshot needs it.")
	}
}

// printFinding prints what is wrong and what to do, beside a mark.
func (a *app) printFinding(mark, text, advice string) {
	indent := strings.Repeat(" ", len("  warning  "))
	told := wrapped(text, indent)
	// A command stays on one line, to be copied.
	if why, command, found := strings.Cut(advice, ": ACL SETUSER "); found {
		told += wrapped("-> "+why+":", indent) + indent + "ACL SETUSER " + command + "\n"
	} else {
		told += wrapped("-> "+advice, indent)
	}
	fmt.Fprint(a.stdout, fmt.Sprintf("  %-7s  ", mark)+strings.TrimPrefix(told, indent))
}
