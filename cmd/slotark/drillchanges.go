package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/snapshot/manifest"
)

// changed says in a line what another server changed.
func changed(c *drill.Changes) string {
	before, after := memoryOf(c)
	text := fmt.Sprintf("%s to %s: RDB %d to %d, ", serverName(c.Before), serverName(c.After), c.RDBBefore, c.RDBAfter)
	if before > 0 {
		text += fmt.Sprintf("memory %s to %s, ", human.Size(before), human.Size(after))
	}
	if gone, came := recoded(c); len(gone)+len(came) > 0 {
		text += fmt.Sprintf("encodings gone: %s, new: %s; ", cmp.Or(strings.Join(gone, ", "), "none"), cmp.Or(strings.Join(came, ", "), "none"))
	}
	return text + fmt.Sprintf("%s of another value, %d unknown to it, %s of ACL users refused",
		human.Plural(len(c.Parameters), "parameter"), len(c.Unknown), human.Plural(len(c.Rules), "rule"))
}

func serverName(s manifest.Server) string {
	name := "Redis"
	if s.Engine == "valkey" {
		name = "Valkey"
	}
	return name + " " + s.Version
}

// memoryOf is what all shards take; before is 0 where it is not known of one.
func memoryOf(c *drill.Changes) (before, after int64) {
	known := true
	for _, m := range c.Memory {
		before, after = before+m.Before, after+m.After
		known = known && m.Before > 0
	}
	if !known {
		before = 0
	}
	return before, after
}

// recoded are the encodings that no key has any more, and those that none had before.
func recoded(c *drill.Changes) (gone, came []string) {
	for _, e := range c.Encodings {
		switch {
		case e.After == 0:
			gone = append(gone, e.Encoding)
		case e.Before == 0:
			came = append(came, e.Encoding)
		}
	}
	return gone, came
}

// writeChanges writes what another server changed as Markdown.
func writeChanges(to io.Writer, c *drill.Changes) {
	if c == nil {
		return
	}
	fmt.Fprintf(to, "\n## What this server changes\n\n| | %s | %s |\n|---|---|---|\n", serverName(c.Before), serverName(c.After))
	fmt.Fprintf(to, "| RDB version | %d | %d |\n| function libraries, of all primaries | %d | %d |\n", c.RDBBefore, c.RDBAfter, c.Libraries, c.Loaded)
	for _, m := range c.Memory {
		before := "of other slots"
		if m.Before > 0 {
			before = human.Size(m.Before)
		}
		fmt.Fprintf(to, "| memory of slots %s | %s | %s |\n", m.Slots, before, human.Size(m.After))
	}
	for _, e := range c.Encodings {
		fmt.Fprintf(to, "| keys encoded as %s | %s | %s |\n", cell(e.Encoding), human.Count(e.Before), human.Count(e.After))
	}
	for _, p := range c.Parameters {
		before := "not shown"
		if p.Before != "" {
			before = "`" + cell(p.Before) + "`"
		}
		fmt.Fprintf(to, "| `%s` | %s | `%s` |\n", cell(p.Name), before, cell(p.After))
	}
	fmt.Fprint(to, "\nThe parameters are those of the snapshot's settings, beside what a server has that was told nothing of them.\n")
	if len(c.Unknown) > 0 {
		fmt.Fprintf(to, "\nIt does not know: `%s`.\n", strings.Join(c.Unknown, "`, `"))
	}
	for _, r := range c.Rules {
		user := "an ACL user"
		if r.User != "" {
			user = "ACL user " + r.User
		}
		fmt.Fprintf(to, "\nIt refuses the rules of %s: %s\n", user, r.Detail)
	}
}
