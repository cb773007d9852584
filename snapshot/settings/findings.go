package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Codes of the findings, which FORMAT.md lists.
const (
	codeRights    = "settings-rights"  // the user may not read a part of the settings
	codeUnread    = "settings-unread"  // a part could not be read for another reason
	codeUsers     = "users-differ"     // nodes have other ACL users than the rest
	codeFunctions = "functions-differ" // shards have other functions than the rest
)

// names of the parts, for a person.
var partNames = map[string]string{
	manifest.PartServer: "build", manifest.PartConfig: "configuration", manifest.PartUsers: "ACL users",
	manifest.PartModules: "modules", manifest.PartFunctions: "functions",
}

// findings are what a person should know of the settings: one for each kind.
func (m *merging) findings() []manifest.Finding {
	found := append(m.missingRights(), m.unread()...)
	return append(found, m.disagreements()...)
}

func (m *merging) finding(code, format string, args ...any) manifest.Finding {
	return manifest.Finding{Code: code, Severity: "warning", Subject: "settings", Detail: fmt.Sprintf(format, args...)}
}

// missingRights is one finding for all rights that are missing, wherever.
func (m *merging) missingRights() []manifest.Finding {
	var parts, rights []string
	nodes := map[int]bool{}
	for _, q := range questions {
		for i, a := range m.answers {
			if a.failures[q.part].right == "" {
				continue
			}
			nodes[i] = true
			if !slices.Contains(rights, q.right) {
				parts, rights = append(parts, partNames[q.part]), append(rights, q.right)
			}
		}
	}
	if len(rights) == 0 {
		return nil
	}
	return []manifest.Finding{m.finding(codeRights, "not stored: %s of %s. User %s may not read them: give it %s, or take snapshots with --keep-settings none",
		human.List(parts), m.some(len(nodes)), m.Access.User(), strings.Join(rights, " "))}
}

// unread are parts that could not be read though nobody forbade it.
func (m *merging) unread() []manifest.Finding {
	var found []manifest.Finding
	for _, absent := range m.result.Absent {
		forbidden := slices.ContainsFunc(m.answers, func(a answer) bool {
			f := a.failures[absent.Part]
			return f.reason == absent.Reason && f.right != ""
		})
		if !forbidden {
			found = append(found, m.finding(codeUnread, "not stored: %s of %s: %s", partNames[absent.Part], m.some(len(absent.Nodes)), absent.Reason))
		}
	}
	return found
}

// disagreements are nodes and shards that are not set up as the rest.
func (m *merging) disagreements() []manifest.Finding {
	var found []manifest.Finding
	var others []string
	for _, n := range m.result.Nodes {
		if n.Users != nil {
			others = append(others, n.Address)
		}
	}
	if len(others) > 0 {
		found = append(found, m.finding(codeUsers, "the ACL users of %s are not those of the other nodes: a failover changes who may do what", human.List(few(others))))
	}
	sums, bySum := map[string]int{}, map[string][]string{}
	for _, s := range m.result.Shards {
		sums[s.Functions]++
		bySum[s.Functions] = append(bySum[s.Functions], s.Slots.String())
	}
	if len(sums) > 1 {
		delete(bySum, most(sums))
		var slots []string
		for _, s := range m.result.Shards {
			if bySum[s.Functions] != nil {
				slots = append(slots, s.Slots.String())
			}
		}
		found = append(found, m.finding(codeFunctions, "the function libraries of shard %s are not those of the other shards: FCALL fails or does something else there", human.List(few(slots))))
	}
	return found
}

// Withheld names the passwords that settings lack, where there are any. That is
// no finding: it was asked for, or nothing would have encrypted them.
func Withheld(s *manifest.Settings) []string {
	if s.Secrets {
		return nil
	}
	left := slices.Clone(s.Withheld)
	users := 0
	for _, u := range s.Users {
		if u.Withheld > 0 {
			users++
		}
	}
	if users > 0 {
		left = append(left, "the passwords of "+human.Plural(users, "ACL user"))
	}
	return left
}

// some is "all 6 nodes" or "2 of 6 nodes".
func (m *merging) some(n int) string {
	if n == len(m.members) {
		return "all " + human.Plural(n, "node")
	}
	return fmt.Sprintf("%d of %s", n, human.Plural(len(m.members), "node"))
}

// maxNamed keeps a finding readable.
const maxNamed = 5

func few(names []string) []string {
	if len(names) > maxNamed {
		return append(slices.Clone(names[:maxNamed]), fmt.Sprintf("%d more", len(names)-maxNamed))
	}
	return names
}
