package settings

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/snapshot/manifest"
)

// merging makes one record of what all nodes said.
type merging struct {
	Options
	members  []cluster.Member
	answers  []answer
	withheld map[string]bool
	result   *manifest.Settings
}

func (m *merging) settings() *manifest.Settings {
	m.result = &manifest.Settings{
		Version: manifest.SettingsVersion, Cluster: m.Cluster, Read: m.Now.UTC(), Secrets: m.Secrets, Nodes: []manifest.NodeSettings{},
	}
	for i, member := range m.members {
		a := &m.answers[i]
		node := manifest.NodeSettings{Node: member.ID, Address: member.Addr, Role: string(member.Role), Server: a.server, Modules: m.modules(a.modules)}
		m.result.Nodes = append(m.result.Nodes, node)
		if a.config != nil {
			a.config = keep(a.config, m.Secrets, m.withheld)
		}
		a.users = m.users(a.users)
	}
	m.mergeConfig()
	m.mergeUsers()
	m.shards()
	m.absent()
	m.result.Withheld = slices.Sorted(maps.Keys(m.withheld))
	return m.result
}

// mergeConfig gives the cluster each parameter that at least half of the nodes
// know, with the value that most of them have, and each node the rest.
func (m *merging) mergeConfig() {
	values, asked := map[string]map[manifest.Text]int{}, 0
	for _, a := range m.answers {
		if a.config == nil {
			continue
		}
		asked++
		for name, value := range a.config {
			if values[name] == nil {
				values[name] = map[manifest.Text]int{}
			}
			values[name][value]++
		}
	}
	if asked == 0 {
		return
	}
	m.result.Config = map[string]manifest.Text{}
	for name, counts := range values {
		knowing := 0
		for _, n := range counts {
			knowing += n
		}
		if 2*knowing >= asked {
			m.result.Config[name] = most(counts)
		}
	}
	for i, a := range m.answers {
		if a.config == nil {
			continue
		}
		node := &m.result.Nodes[i]
		for name, value := range a.config {
			if merged, there := m.result.Config[name]; !there || merged != value {
				if node.Config == nil {
					node.Config = map[string]manifest.Text{}
				}
				node.Config[name] = value
			}
		}
		for name := range m.result.Config {
			if _, there := a.config[name]; !there {
				node.Lacks = append(node.Lacks, name)
			}
		}
		slices.Sort(node.Lacks)
	}
}

// most is the key that was counted most, and of equals the first.
func most[T cmp.Ordered](counts map[T]int) T {
	return slices.MinFunc(slices.Collect(maps.Keys(counts)), func(a, b T) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// mergeUsers gives the cluster the users that most of the nodes have, and each
// other node its own.
func (m *merging) mergeUsers() {
	counts, byKey := map[string]int{}, map[string][]manifest.User{}
	keys := make([]string, len(m.answers))
	for i, a := range m.answers {
		if a.users == nil {
			continue
		}
		text, _ := json.Marshal(a.users) // of strings and numbers: it cannot fail
		keys[i] = string(text)
		counts[keys[i]]++
		byKey[keys[i]] = a.users
	}
	if len(counts) == 0 {
		return
	}
	merged := most(counts)
	m.result.Users = byKey[merged]
	for i, key := range keys {
		if key != "" && key != merged {
			m.result.Nodes[i].Users = byKey[key]
		}
	}
}

// users leaves the passwords out, where they are not to be kept. That two nodes
// have other passwords is then not told.
func (m *merging) users(users []manifest.User) []manifest.User {
	if m.Secrets {
		return users
	}
	for i := range users {
		users[i].Withheld, users[i].Passwords = len(users[i].Passwords), nil
	}
	return users
}

func (m *merging) modules(modules []manifest.Module) []manifest.Module {
	if !m.Secrets {
		for i := range modules {
			modules[i].Arguments = nil
		}
	}
	return modules
}

// shards records the functions of each primary that was asked and has slots.
func (m *merging) shards() {
	byID := map[string]*answer{}
	for i := range m.members {
		byID[m.members[i].ID] = &m.answers[i]
	}
	for _, shard := range m.Topology.Shards {
		a := byID[shard.Primary.ID]
		if _, failed := a.failures[manifest.PartFunctions]; failed || shard.Slots.Len() == 0 {
			continue
		}
		m.result.Shards = append(m.result.Shards, manifest.ShardSettings{
			Slots: shard.Slots, Primary: shard.Primary.ID, Functions: manifest.FunctionsSum(a.libraries), Libraries: a.libraries,
		})
	}
}

// absent collects what is missing, by part and reason.
func (m *merging) absent() {
	for _, q := range questions {
		nodes := map[string][]string{}
		for i, a := range m.answers {
			if f, failed := a.failures[q.part]; failed {
				nodes[f.reason] = append(nodes[f.reason], m.members[i].ID)
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(nodes)) {
			m.result.Absent = append(m.result.Absent, manifest.Absent{Part: q.part, Nodes: nodes[reason], Reason: reason})
		}
	}
}
