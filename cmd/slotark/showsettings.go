package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// settingsMessage is what show --settings prints.
type settingsMessage struct {
	Type     string             `json:"message_type"` // "settings"
	ID       manifest.ID        `json:"id"`
	Settings *manifest.Settings `json:"settings"`
}

// printSettings prints the settings of a snapshot: secrets only where they were
// asked for by name.
func (a *app) printSettings(ctx context.Context, s *catalog.Snapshot, reveal bool) error {
	read, err := verify.ReadSettings(ctx, s)
	if err != nil {
		return err
	}
	if read == nil {
		return hint.Add(fmt.Errorf("snapshot %s has no settings", s.Manifest.ID),
			"it was taken with --keep-settings none, or by a slotark that did not keep them")
	}
	if reveal && !read.Secrets {
		return hint.Add(fmt.Errorf("the settings of snapshot %s hold no secrets", s.Manifest.ID),
			"they are kept where a snapshot is encrypted (--recipient), or with --keep-settings full")
	}
	shown := read
	if !reveal {
		shown = read.Public()
	}
	if a.json {
		a.emit(settingsMessage{"settings", s.Manifest.ID, shown})
		return nil
	}
	a.printSettingsText(s.Manifest, shown, read.Secrets && !reveal)
	return nil
}

func (a *app) printSettingsText(m *manifest.Manifest, s *manifest.Settings, hidden bool) {
	secrets := "left out when the snapshot was taken"
	switch {
	case hidden:
		secrets = "stored, not shown: --reveal-secrets"
	case s.Secrets:
		secrets = "shown"
	}
	fmt.Fprint(a.stdout, table([][]string{
		{"settings", fmt.Sprintf("%s of cluster %s, %s, read %s", m.ID, s.Cluster, human.Plural(len(s.Nodes), "node"), human.Moment(s.Read))},
		{"secrets", secrets},
	}))
	a.section("build", buildRows(s))
	a.section("modules", moduleRows(s))
	a.section("configuration", configRows(s, hidden))
	a.section("nodes that differ", differenceRows(s))
	a.section("ACL users", userRows(s.Users))
	for _, n := range s.Nodes {
		a.section("ACL users of "+n.Address, userRows(n.Users))
	}
	a.section("functions", functionRows(s))
	a.section("not stored", absentRows(s))
}

// section prints a heading and rows below it, where there are any.
func (a *app) section(heading string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(a.stdout, "\n%s\n%s", heading, table(rows))
}

// grouped are addresses by what is said of them, in the order of the first.
func grouped(s *manifest.Settings, say func(*manifest.NodeSettings) string) [][]string {
	var order []string
	nodes := map[string][]string{}
	for i := range s.Nodes {
		what := say(&s.Nodes[i])
		if what == "" {
			continue
		}
		if nodes[what] == nil {
			order = append(order, what)
		}
		nodes[what] = append(nodes[what], s.Nodes[i].Address)
	}
	var rows [][]string
	for _, what := range order {
		of := strings.Join(nodes[what], " ")
		if len(nodes[what]) == len(s.Nodes) {
			of = "all nodes"
		}
		rows = append(rows, []string{"  " + what, of})
	}
	return rows
}

func buildRows(s *manifest.Settings) [][]string {
	return grouped(s, func(n *manifest.NodeSettings) string {
		b := n.Server
		if b == nil {
			return ""
		}
		return fmt.Sprintf("%s %s, build %s, git %s, %s, %s bits, gcc %s", engineName(b.Engine), b.Version, b.BuildID, b.GitSHA1, b.OS, b.ArchBits, b.GCC)
	})
}

func moduleRows(s *manifest.Settings) [][]string {
	return grouped(s, func(n *manifest.NodeSettings) string {
		var modules []string
		for _, m := range n.Modules {
			text := fmt.Sprintf("%s %d", m.Name, m.Version)
			for _, argument := range m.Arguments {
				text += " " + legible(argument)
			}
			modules = append(modules, text)
		}
		return strings.Join(modules, ", ")
	})
}

// legible is a server's text for a person: as it is where it is
// visible characters and spaces, and else quoted.
func legible(t manifest.Text) string {
	if quoted := strconv.Quote(string(t)); t == "" || quoted != `"`+string(t)+`"` {
		return quoted
	}
	return string(t)
}

func configRows(s *manifest.Settings, hidden bool) [][]string {
	values := map[string]string{}
	for name, value := range s.Config {
		values[name] = legible(value)
	}
	for _, name := range s.Withheld {
		values[name] = "[left out]"
		if hidden {
			values[name] = "[hidden]"
		}
	}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		rows = append(rows, []string{"  " + name, values[name]})
	}
	return rows
}

// differenceRows are a line for each parameter of a node that is not as in the
// rest of the cluster.
func differenceRows(s *manifest.Settings) [][]string {
	var rows [][]string
	for _, n := range s.Nodes {
		for _, name := range slices.Sorted(maps.Keys(n.Config)) {
			rows = append(rows, []string{fmt.Sprintf("  %s (%s)", n.Address, n.Role), name, legible(n.Config[name])})
		}
		for _, name := range n.Lacks {
			rows = append(rows, []string{fmt.Sprintf("  %s (%s)", n.Address, n.Role), name, "[not known there]"})
		}
	}
	return rows
}

func userRows(users []manifest.User) [][]string {
	var rows [][]string
	for _, u := range users {
		passwords := "no password"
		switch n := u.Withheld + len(u.Passwords); {
		case len(u.Passwords) > 0:
			passwords = "#" + strings.Join(u.Passwords, " #")
		case n > 0:
			passwords = human.Plural(n, "password")
		}
		rows = append(rows, []string{"  " + legible(u.Name), passwords, string(u.Rules)})
	}
	return rows
}

func functionRows(s *manifest.Settings) [][]string {
	var rows [][]string
	for _, shard := range s.Shards {
		var libraries []string
		for _, l := range shard.Libraries {
			libraries = append(libraries, fmt.Sprintf("%s (%s, %s, %s)", legible(l.Name), l.Engine, human.Plural(len(l.Functions), "function"), l.SHA256[:12]))
		}
		if libraries == nil {
			libraries = []string{"none"}
		}
		rows = append(rows, []string{"  " + shard.Slots.String(), strings.Join(libraries, ", ")})
	}
	return rows
}

func absentRows(s *manifest.Settings) [][]string {
	var rows [][]string
	for _, absent := range s.Absent {
		rows = append(rows, []string{"  " + absent.Part, human.Plural(len(absent.Nodes), "node"), absent.Reason})
	}
	return rows
}
