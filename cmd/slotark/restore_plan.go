package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

type planMessage struct {
	Type     string             `json:"message_type"` // "restore_plan"
	Snapshot manifest.ID        `json:"snapshot"`
	Cluster  string             `json:"cluster"`
	Store    string             `json:"store"`
	Fetch    int64              `json:"stored_bytes"`
	Bytes    int64              `json:"bytes"`
	Keys     uint64             `json:"keys"`
	Expiring uint64             `json:"expiring"`
	Lost     catalog.Seconds    `json:"lost_seconds"`
	Expected catalog.Seconds    `json:"expected_seconds"`
	Loses    []planLossMessage  `json:"loses,omitempty"`
	Steps    []planStepMessage  `json:"steps"`
	Shards   []planShardMessage `json:"shards"`
	Drilled  *catalog.Drill     `json:"drilled,omitempty"`
	Notes    []string           `json:"notes,omitempty"`
}

type planLossMessage struct {
	Address   string `json:"address"`
	Keys      uint64 `json:"keys"`
	Libraries int    `json:"libraries"`
	Others    int    `json:"other_nodes"`
	Source    bool   `json:"live_source"`
}

type planStepMessage struct {
	Name     string          `json:"name"`
	What     string          `json:"what"`
	Expected catalog.Seconds `json:"expected_seconds"`
}

type planShardMessage struct {
	Slots    string            `json:"slots"`
	Memory   int64             `json:"memory_bytes"`
	Primary  planNodeMessage   `json:"primary"`
	Replicas []planNodeMessage `json:"replicas"`
}

type planNodeMessage struct {
	Address   string `json:"address"`
	Server    string `json:"server,omitempty"`
	MaxMemory int64  `json:"max_memory,omitempty"`
	Folder    string `json:"folder,omitempty"`
}

func nodeOfPlan(p restore.Place) planNodeMessage {
	return planNodeMessage(p)
}

// printPlan prints what a restore would do, and how long it will take.
func (a *app) printPlan(ctx context.Context, repository *catalog.Repository, s *catalog.Snapshot, p *restore.Plan) error {
	m := s.Manifest
	expected, err := expect(ctx, repository, m.Cluster, p)
	if err != nil {
		return err
	}
	if a.json {
		a.emit(newPlanMessage(s, p, expected))
		return nil
	}
	fmt.Fprintf(a.stdout, "restore of %s as of %s (%s of writes since then are not in it)\n", m.Cluster, human.Moment(m.Started), human.Duration(clock.Since(m.Started)))
	expiring := ""
	if p.Expire > 0 {
		expiring = fmt.Sprintf(", %s of them with an expiry", human.Count(p.Expire))
	}
	rows := [][]string{
		{"  from", fmt.Sprintf("%s, %s to fetch, %s unpacked, %s%s", p.Store, human.Size(p.Fetch), human.Size(p.Bytes), human.Plural(p.Keys, "key"), expiring)},
		{"  time", expected.String()},
	}
	for _, shard := range p.Shards {
		rows = append(rows, []string{"  shard", fmt.Sprintf("%s on %s, about %s of memory", shard.Slots, describePlace(shard.Primary), human.Size(shard.Memory))})
		for _, replica := range shard.Replicas {
			rows = append(rows, []string{"", "replica " + describePlace(replica)})
		}
	}
	for _, held := range p.Loses {
		rows = append(rows, []string{"  LOST", held.Address + " " + held.String()})
	}
	for i, step := range p.Steps {
		what := step.What
		if took := expected.steps[i]; took >= time.Second/10 {
			what += ", about " + human.Duration(took.Round(time.Second/10))
		}
		rows = append(rows, []string{"  " + strconv.Itoa(i+1) + " " + step.Name, what})
	}
	fmt.Fprint(a.stdout, table(rows))
	for _, note := range p.Notes {
		fmt.Fprintln(a.stdout, note)
	}
	fmt.Fprintln(a.stdout, "nothing was changed; to run it: the same command without --plan")
	return nil
}

func describePlace(p restore.Place) string {
	switch {
	case p.Folder != "":
		return p.Address + ", in " + p.Folder
	case p.MaxMemory > 0:
		return fmt.Sprintf("%s (%s, %s at most)", p.Address, p.Server, human.Size(p.MaxMemory))
	case p.Server == "": // of a node that another process seeds
		return p.Address
	}
	return fmt.Sprintf("%s (%s)", p.Address, p.Server)
}

func newPlanMessage(s *catalog.Snapshot, p *restore.Plan, expected expectation) planMessage {
	msg := planMessage{
		Type: "restore_plan", Snapshot: s.Manifest.ID, Cluster: s.Manifest.Cluster, Store: p.Store, Fetch: p.Fetch, Bytes: p.Bytes,
		Keys: p.Keys, Expiring: p.Expire, Lost: catalog.Seconds(clock.Since(s.Manifest.Started)), Expected: catalog.Seconds(expected.total), Drilled: expected.drilled, Notes: p.Notes,
	}
	for _, held := range p.Loses {
		msg.Loses = append(msg.Loses, planLossMessage{held.Address, held.Keys, held.Libraries, len(held.Others), held.Source})
	}
	for i, step := range p.Steps {
		msg.Steps = append(msg.Steps, planStepMessage{step.Name, step.What, catalog.Seconds(expected.steps[i])})
	}
	for _, shard := range p.Shards {
		one := planShardMessage{Slots: shard.Slots.String(), Memory: shard.Memory, Primary: nodeOfPlan(shard.Primary), Replicas: []planNodeMessage{}}
		for _, replica := range shard.Replicas {
			one.Replicas = append(one.Replicas, nodeOfPlan(replica))
		}
		msg.Shards = append(msg.Shards, one)
	}
	return msg
}
