package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/restore/drill/probe"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/verify"
)

// Changes is what a drill on another server than the snapshot's own, the rehearsal of
// an upgrade, found to be another. None of it is a finding.
//
// The evidence is stored as it is, also that of an encrypted snapshot. What settings
// such a snapshot has, and whom, is not repeated: Before of a parameter and User of a
// rule are empty then.
type Changes struct {
	Before     manifest.Server   `json:"before"`
	After      manifest.Server   `json:"after"`
	RDBBefore  int               `json:"rdb_before"` // version of the dumps
	RDBAfter   int               `json:"rdb_after"`  // version that the server writes
	Libraries  int               `json:"libraries"`  // of functions, in the dumps
	Loaded     int               `json:"loaded"`     // and on the server, of all its primaries
	Encodings  []EncodingChange  `json:"encodings"`  // by name, of all keys
	Memory     []MemoryChange    `json:"memory"`     // by shard of the restored cluster
	Parameters []ParameterChange `json:"parameters"` // by name, of what the snapshot's settings have
	Unknown    []string          `json:"unknown"`    // parameters that the snapshot's server had and this one does not know
	Rules      []RuleRefused     `json:"rules"`      // of ACL users
}

// MemoryChange is what the keys of a shard take, in bytes. Before is the server's own
// figure in the dump, and 0 where the slots are on other shards than they were.
type MemoryChange struct {
	Slots  slot.Set `json:"slots"`
	Before int64    `json:"before,omitempty"`
	After  int64    `json:"after"`
}

// EncodingChange is how many keys have an encoding in the snapshot's dumps, and in those
// that the server writes of the same keys, less those that have expired meanwhile.
type EncodingChange struct {
	Encoding string `json:"encoding"` // "hash listpack"
	Before   uint64 `json:"before"`
	After    uint64 `json:"after"`
}

// encodingChanges has every encoding that is on either side.
func encodingChanges(before, after map[string]uint64) []EncodingChange {
	all := map[string]uint64{}
	maps.Copy(all, before)
	maps.Copy(all, after)
	changes := []EncodingChange{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		changes = append(changes, EncodingChange{name, before[name], after[name]})
	}
	return changes
}

// ParameterChange is a parameter that a server which was told nothing of it sets
// otherwise than the snapshot's was.
type ParameterChange struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after"`
}

// RuleRefused is why the server does not take the rules of an ACL user.
type RuleRefused struct {
	User   string `json:"user,omitempty"`
	Detail string `json:"detail"` // the server's own words, which name the rule
}

// changes finds out what is another on this server. What it cannot find out is a
// note: the rehearsal itself has been held.
func (d *rehearsal) changes(ctx context.Context, c *probe.Cluster) {
	m := d.manifest
	if d.report.Engine == m.Server.Engine && d.report.ServerVersion == m.Server.Version {
		return
	}
	found := &Changes{Before: m.Server, After: manifest.Server{Engine: d.report.Engine, Version: d.report.ServerVersion}, Loaded: d.report.Samples.Libraries,
		Encodings: encodingChanges(d.report.before, d.report.after)}
	for _, s := range m.Shards {
		found.RDBBefore = max(found.RDBBefore, s.Dump.RDBVersion)
		found.Libraries += s.Dump.Functions
	}
	var err error
	if found.RDBAfter, err = c.RDBVersion(ctx); err == nil {
		if found.Memory, err = d.memory(ctx, c); err == nil {
			err = d.settingsChanged(ctx, found)
		}
	}
	if err != nil {
		d.report.Notes = append(d.report.Notes, "What else changes with this server could not be found out: "+err.Error())
	}
	d.report.Changes = found
}

// memory asks each primary what it uses.
func (d *rehearsal) memory(ctx context.Context, c *probe.Cluster) ([]MemoryChange, error) {
	var memory []MemoryChange
	for _, shard := range c.Shards() {
		node := d.sandbox.Access().Open(shard.Primary.Addr)
		info, err := node.Info(ctx, "memory")
		_ = node.Close() // it has answered, or will not
		if err != nil {
			return nil, err
		}
		change := MemoryChange{Slots: shard.Slots, After: info.Int("used_memory")}
		for _, s := range d.manifest.Shards {
			if s.Slots == shard.Slots {
				change.Before = s.Dump.UsedMemory
			}
		}
		memory = append(memory, change)
	}
	return memory, nil
}

// settingsChanged holds the snapshot's settings against what a node of the drill has
// and takes.
func (d *rehearsal) settingsChanged(ctx context.Context, found *Changes) error {
	settings, err := verify.ReadSettings(ctx, d.Snapshot)
	if err != nil || settings == nil {
		return err
	}
	node := d.sandbox.Access().Open(d.sandbox.Nodes()[0])
	defer node.Close()
	now, err := parameters(ctx, node, "*")
	if err != nil {
		return err
	}
	hidden := d.manifest.Seal.Encryption != "none"
	ours := drillParameters()
	for _, name := range slices.Sorted(maps.Keys(settings.Config)) {
		before := string(settings.Config[name])
		after, known := now[name]
		if !known { // some are shown only to who asks for them by name
			one, err := parameters(ctx, node, name)
			if err != nil {
				return err
			}
			after, known = one[name]
		}
		switch {
		case manifest.IsSecret(name) || ours[name]:
		case !known:
			found.Unknown = append(found.Unknown, name)
		case after != before && hidden:
			found.Parameters = append(found.Parameters, ParameterChange{Name: name, After: after})
		case after != before:
			found.Parameters = append(found.Parameters, ParameterChange{name, before, after})
		}
	}
	for _, user := range settings.Users {
		refused, err := refusedRules(ctx, node, user)
		if err != nil {
			return err
		}
		if refused != "" && hidden {
			user.Name = ""
		}
		if refused != "" {
			found.Rules = append(found.Rules, RuleRefused{string(user.Name), refused})
		}
	}
	return nil
}

// parameters are those of a node that a pattern fits, with their values.
func parameters(ctx context.Context, node *cluster.Node, pattern string) (map[string]string, error) {
	reply, err := node.Do(ctx, "CONFIG", "GET", pattern)
	if err != nil {
		return nil, err
	}
	list, _ := reply.([]any)
	values := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		values[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return values, nil
}

// drillParameters are those that the drill itself sets, and that say nothing of a
// server.
func drillParameters() map[string]bool {
	ours := map[string]bool{"cluster-databases": true}
	for _, line := range nodeSettings {
		name, _, _ := strings.Cut(line, " ")
		ours[name] = true
	}
	return ours
}

// trialUser is made to try rules on, cannot log in, and is removed.
const trialUser = "slotark-drill-trial"

// refusedRules tries the rules of a user on a node, and returns what the node has
// against them.
func refusedRules(ctx context.Context, node *cluster.Node, user manifest.User) (string, error) {
	args := []any{"ACL", "SETUSER", trialUser, "reset"}
	for _, rule := range strings.Fields(string(user.Rules)) {
		if rule != "on" && rule != "nopass" {
			args = append(args, rule)
		}
	}
	refused := ""
	_, err := node.Do(ctx, args...)
	var reply cluster.ServerError
	if errors.As(err, &reply) {
		refused, err = strings.TrimPrefix(string(reply), "ERR "), nil
	}
	if err == nil {
		_, err = node.Do(ctx, "ACL", "DELUSER", trialUser)
	}
	return refused, err
}
