package manifest

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/storage"
)

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// ValidateClusterName checks a name that will be part of object names.
func ValidateClusterName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("cluster name %q: want 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or a digit", name)
	}
	return nil
}

// Validate finds what is incoherent in a manifest: it is one of the two places
// where completeness is computed (the other is that every object is there).
// All problems are joined into one error.
func (m *Manifest) Validate() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if m.Version < 1 || m.Version > Version {
		report("format version is %d, want 1 to %d", m.Version, Version)
	}
	if _, err := ParseID(string(m.ID)); err != nil {
		problems = append(problems, err)
	}
	if err := ValidateClusterName(m.Cluster); err != nil {
		problems = append(problems, err)
	}
	if m.Server.Engine != "redis" && m.Server.Engine != "valkey" {
		report("server engine is %q, want redis or valkey", m.Server.Engine)
	}
	if m.Finished.Before(m.Started) {
		report("it finished (%s) before it started (%s)", m.Finished, m.Started)
	}
	problems = append(problems, m.validateSeal()...)
	problems = append(problems, m.validateObjects()...)
	problems = append(problems, m.validateSlots()...)
	problems = append(problems, m.validateTopology()...)
	for _, s := range m.Shards {
		if err := s.validate(); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// validateObjects checks that no object is named twice, and those that are no
// shard's.
func (m *Manifest) validateObjects() []error {
	var problems []error
	named := map[string]bool{}
	for _, f := range m.Files() {
		if named[f.Object] {
			problems = append(problems, fmt.Errorf("object %q is named twice", f.Object))
		}
		named[f.Object] = true
	}
	if m.Settings != (File{}) {
		for _, problem := range m.Settings.validate(1) {
			problems = append(problems, fmt.Errorf("settings: %w", problem))
		}
	}
	return problems
}

// validateSlots proves promise 1 of the design: every slot exactly once.
func (m *Manifest) validateSlots() []error {
	var problems []error
	var covered slot.Set
	for i, s := range m.Shards {
		if s.Slots.Len() == 0 {
			problems = append(problems, fmt.Errorf("shard %d of %d has no slots", i+1, len(m.Shards)))
		}
		if twice := covered.Intersect(s.Slots); twice.Len() > 0 {
			problems = append(problems, fmt.Errorf("slots %s are in two shards", twice))
		}
		covered = covered.Union(s.Slots)
	}
	if missing := slot.Full().Minus(covered); missing.Len() > 0 {
		problems = append(problems, fmt.Errorf("slots %s are in no shard", missing))
	}
	return problems
}

// validateTopology checks that shards and topology tell the same story.
func (m *Manifest) validateTopology() []error {
	var problems []error
	nodes, held := map[string]Node{}, map[string]bool{}
	for _, n := range m.Topology.Nodes {
		if _, twice := nodes[n.ID]; twice || n.ID == "" {
			problems = append(problems, fmt.Errorf("topology lists node %q twice or without an id", n.ID))
		}
		nodes[n.ID] = n
		if n.Role != "primary" && n.Role != "replica" {
			problems = append(problems, fmt.Errorf("topology gives node %q the role %q", n.ID, n.Role))
		}
	}
	for _, s := range m.Shards {
		primary, known := nodes[s.Primary]
		switch {
		case !known:
			problems = append(problems, fmt.Errorf("shard %s: its primary %q is not in the topology", s.Slots, s.Primary))
		case primary.Slots != s.Slots:
			problems = append(problems, fmt.Errorf("shard %s: the topology gives its primary slots %s", s.Slots, primary.Slots))
		}
		if _, known := nodes[s.Source.Node]; !known {
			problems = append(problems, fmt.Errorf("shard %s: its source %q is not in the topology", s.Slots, s.Source.Node))
		}
		held[s.Primary] = true
	}
	for _, n := range m.Topology.Nodes {
		if n.Slots.Len() > 0 && !held[n.ID] {
			problems = append(problems, fmt.Errorf("topology gives node %q slots %s, and no shard is its", n.ID, n.Slots))
		}
	}
	return problems
}

func (s *Shard) validate() error {
	var problems []error
	for i, f := range s.Files() {
		least := int64(1)
		if i >= 2 { // a rewrite begins an increment that is empty until the first command
			least = 0
		}
		for _, problem := range f.validate(least) {
			problems = append(problems, fmt.Errorf("shard %s: %w", s.Slots, problem))
		}
	}
	if s.AOF != nil {
		for _, err := range s.AOF.validate() {
			problems = append(problems, fmt.Errorf("shard %s: %w", s.Slots, err))
		}
	}
	if s.Dump.Expiring > s.Dump.Keys {
		problems = append(problems, fmt.Errorf("shard %s: %d keys expire of %d", s.Slots, s.Dump.Expiring, s.Dump.Keys))
	}
	if s.Dump.RDBVersion < 1 {
		problems = append(problems, fmt.Errorf("shard %s: RDB version is %d", s.Slots, s.Dump.RDBVersion))
	}
	return errors.Join(problems...)
}

// validate finds what is wrong with an object that holds so many bytes at least.
func (f File) validate(least int64) []error {
	var problems []error
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{f.Object}, args...)...))
	}
	if err := storage.CheckName(f.Object); err != nil {
		problems = append(problems, err)
	}
	if !isSum(f.SHA256) {
		report("%q is not a SHA-256", f.SHA256)
	}
	if f.Bytes < least {
		report("size is %d bytes", f.Bytes)
	}
	if f.Plain != (Plain{}) {
		if !isSum(f.Plain.SHA256) {
			report("plain: %q is not a SHA-256", f.Plain.SHA256)
		}
		if f.Plain.Bytes < least {
			report("plain: size is %d bytes", f.Plain.Bytes)
		}
	}
	return problems
}
