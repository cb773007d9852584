package manifest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/slot"
)

// Validate finds what is incoherent in settings. Above all it finds a secret
// where there should be none.
func (s *Settings) Validate() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if s.Version != SettingsVersion {
		report("format version is %d, want %d", s.Version, SettingsVersion)
	}
	if err := ValidateClusterName(s.Cluster); err != nil {
		problems = append(problems, err)
	}
	if s.Read.IsZero() {
		report("it is not said when they were read")
	}
	if s.Secrets && len(s.Withheld) > 0 {
		report("secrets are stored, and %s left out", strings.Join(s.Withheld, ", "))
	}
	for _, name := range s.Withheld {
		if !IsSecret(name) {
			report("%q is left out as a secret, and is none", name)
		}
	}
	problems = append(problems, s.validateConfig("the cluster", s.Config)...)
	problems = append(problems, s.validateUsers("the cluster", s.Users)...)
	known := map[string]bool{}
	for _, n := range s.Nodes {
		if n.Node == "" || known[n.Node] {
			report("node %q is there twice, or has no id", n.Node)
		}
		known[n.Node] = true
		problems = append(problems, s.validateNode(n)...)
	}
	problems = append(problems, s.validateShards(known)...)
	for _, a := range s.Absent {
		if !slices.Contains([]string{PartServer, PartConfig, PartUsers, PartFunctions, PartModules}, a.Part) {
			report("absent part %q is none", a.Part)
		}
		if a.Reason == "" || len(a.Nodes) == 0 {
			report("absent %s: it is not said why, or of which nodes", a.Part)
		}
		for _, id := range a.Nodes {
			if !known[id] {
				report("absent %s: node %q is none of the nodes", a.Part, id)
			}
		}
	}
	return errors.Join(problems...)
}

func (s *Settings) validateConfig(of string, config map[string]Text) []error {
	var problems []error
	for name, value := range config {
		if name == "" {
			problems = append(problems, fmt.Errorf("%s has a parameter without a name", of))
		}
		if !s.Secrets && IsSecret(name) && value != "" {
			// The value is not repeated.
			problems = append(problems, fmt.Errorf("%s has the secret %s, and secrets are not stored", of, name))
		}
	}
	return problems
}

func (s *Settings) validateUsers(of string, users []User) []error {
	var problems []error
	seen := map[Text]bool{}
	for _, u := range users {
		switch {
		case u.Name == "" || seen[u.Name]:
			problems = append(problems, fmt.Errorf("%s has a user %q twice, or without a name", of, u.Name))
		case u.Withheld < 0 || s.Secrets && u.Withheld > 0 || !s.Secrets && len(u.Passwords) > 0:
			problems = append(problems, fmt.Errorf("%s: user %q has %d passwords and %d left out, secrets stored: %v", of, u.Name, len(u.Passwords), u.Withheld, s.Secrets))
		}
		seen[u.Name] = true
		for _, p := range u.Passwords {
			if !isSum(p) {
				problems = append(problems, fmt.Errorf("%s: a password of user %q is no SHA-256", of, u.Name))
			}
		}
		for _, rule := range strings.Fields(string(u.Rules)) {
			if strings.HasPrefix(rule, "#") || strings.HasPrefix(rule, ">") {
				problems = append(problems, fmt.Errorf("%s: the rules of user %q hold a password", of, u.Name))
			}
		}
	}
	return problems
}

func (s *Settings) validateNode(n NodeSettings) []error {
	of := "node " + n.Node
	problems := append(s.validateConfig(of, n.Config), s.validateUsers(of, n.Users)...)
	if n.Role != "primary" && n.Role != "replica" {
		problems = append(problems, fmt.Errorf("%s has the role %q", of, n.Role))
	}
	if b := n.Server; b != nil && b.Engine != "redis" && b.Engine != "valkey" {
		problems = append(problems, fmt.Errorf("%s: engine is %q, want redis or valkey", of, b.Engine))
	}
	for name, value := range n.Config {
		if other, there := s.Config[name]; there && other == value {
			problems = append(problems, fmt.Errorf("%s: %s is said to differ from the cluster's, and is the same", of, name))
		}
	}
	for _, name := range n.Lacks {
		_, there := s.Config[name]
		if _, own := n.Config[name]; own || !there {
			problems = append(problems, fmt.Errorf("%s lacks %s, which the cluster lacks too, or the node has", of, name))
		}
	}
	for _, m := range n.Modules {
		if m.Name == "" || !s.Secrets && len(m.Arguments) > 0 {
			problems = append(problems, fmt.Errorf("%s: module %q has no name, or arguments where secrets are not stored", of, m.Name))
		}
	}
	return problems
}

func (s *Settings) validateShards(nodes map[string]bool) []error {
	var problems []error
	var covered slot.Set
	for _, shard := range s.Shards {
		if shard.Slots.Len() == 0 || shard.Slots.Intersect(covered).Len() > 0 {
			problems = append(problems, fmt.Errorf("shard %s has no slots, or some of another", shard.Slots))
		}
		covered = covered.Union(shard.Slots)
		if !nodes[shard.Primary] {
			problems = append(problems, fmt.Errorf("shard %s: its primary %q is none of the nodes", shard.Slots, shard.Primary))
		}
		for _, l := range shard.Libraries {
			if l.Name == "" || !isSum(l.SHA256) {
				problems = append(problems, fmt.Errorf("shard %s: library %q has no name, or no SHA-256", shard.Slots, l.Name))
			}
		}
		if shard.Functions != FunctionsSum(shard.Libraries) {
			problems = append(problems, fmt.Errorf("shard %s: functions_sha256 is not that of its libraries", shard.Slots))
		}
	}
	return problems
}

func isSum(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == 32
}
