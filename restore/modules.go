package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/verify"
)

const hintModules = "Load the modules on the node (MODULE LIST on the snapshot's own shows them), or start it as these were."

// modulesOf are the modules that can read values of a type, by the type's name in
// dumps: those of Redis Stack, which Redis 8 has built in, and Valkey's.
var modulesOf = map[string][]string{
	"ReJSON-RL": {"ReJSON", "json"}, "TSDB-TYPE": {"timeseries"}, "vectorset": {"vectorset"},
	"MBbloom--": {"bf"}, "MBbloomCF": {"bf"}, "CMSk-TYPE": {"bf"}, "TopK-TYPE": {"bf"}, "TDIS-TYPE": {"bf"}, "bloomfltr": {"bf"},
}

// readModules asks a node which modules it has; nil where it does not tell.
func (t *target) readModules(ctx context.Context) {
	reply, err := t.node.Do(ctx, "MODULE", "LIST")
	list, ok := reply.([]any)
	if err != nil || !ok {
		return
	}
	t.modules = []string{}
	for _, item := range list {
		fields, _ := item.([]any)
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i] == "name" {
				t.modules = append(t.modules, fmt.Sprint(fields[i+1]))
			}
		}
	}
}

// withoutModules objects to nodes that have not the modules whose values the
// snapshot holds. Its settings say which modules its own nodes had: only where one
// of them is missing are the dumps read, to know whether any key needs it.
func (r *run) withoutModules(ctx context.Context) []error {
	settings, err := verify.ReadSettings(ctx, r.Snapshot)
	if err != nil {
		r.outcome.Notes = append(r.outcome.Notes, "which modules the snapshot needs is not known: its settings could not be read")
	}
	if settings == nil {
		return nil
	}
	had := map[string]bool{}
	for _, n := range settings.Nodes {
		for _, m := range n.Modules {
			had[m.Name] = true
		}
	}
	missing := map[string][]string{} // by module, the nodes
	for _, name := range slices.Sorted(maps.Keys(had)) {
		for _, t := range r.targets {
			if t.modules != nil && !slices.Contains(t.modules, name) {
				missing[name] = append(missing[name], t.addr())
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := r.survey(ctx, nil)
	if err != nil {
		return []error{fmt.Errorf("look for values of modules: %w", err)}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		if !found.needs(name) {
			r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("the snapshot's nodes had module %s, %s not: no key needs it, but applications may", name, few(missing[name])+" "+plural(len(missing[name]), "has", "have")))
		}
	}
	var against []error
	for _, t := range r.targets {
		if facts := found.lacking(t.modules); t.modules != nil && len(facts) > 0 {
			against = append(against, objection(t, facts, hintModules))
		}
	}
	return against
}

// needs tells whether keys of a snapshot may be a module's.
func (s *survey) needs(module string) bool {
	for typ := range s.modules {
		if names, known := modulesOf[typ]; !known || slices.Contains(names, module) {
			return true
		}
	}
	return false
}

// lacking says of which values of modules a node with these has no module. Whose a
// type of an unknown name is nobody can tell: a node with any module may have it.
func (s *survey) lacking(modules []string) []string {
	var facts []string
	for _, typ := range slices.Sorted(maps.Keys(s.modules)) {
		names, known := modulesOf[typ]
		if !known && len(modules) > 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(modules, name) }) {
			continue
		}
		facts = append(facts, fmt.Sprintf("has no module for %s of type %s", human.Plural(s.modules[typ], "value"), typ))
	}
	return facts
}
