package restore

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/manifest"
)

// place is one node of the restored cluster: where it is, and what it will be.
type place struct {
	given         string // the address as it was given, by which it is dialed
	host          string // of the address given; tells machines apart
	ip            netip.Addr
	zone          string // machines of one can be lost together
	rank          int    // where it stands among those given
	port, busPort int
	shard         int
	primary       bool
}

// addr is the address a person knows the node by.
func (p place) addr() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

// busOffset is where the cluster bus listens unless a node says otherwise:
// CLUSTER_PORT_INCR in cluster.h.
const busOffset = 10000

// parsePlace reads "host:port" or "host:port@busport".
func parsePlace(text string) (place, error) {
	bad := func(why string) (place, error) {
		return place{}, fmt.Errorf("address %q: %s (want HOST:PORT or HOST:PORT@BUSPORT)", text, why)
	}
	endpoint, bus, hasBus := strings.Cut(text, "@")
	host, portText, err := net.SplitHostPort(endpoint)
	if err != nil || host == "" {
		return bad("it has no host or no port")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return bad("its port is no port")
	}
	p := place{given: endpoint, host: host, zone: host, port: int(port), busPort: int(port) + busOffset}
	if hasBus {
		number, err := strconv.ParseUint(bus, 10, 16)
		if err != nil || number == 0 {
			return bad("its bus port is no port")
		}
		p.busPort = int(number)
	}
	if p.busPort >= 1<<16 {
		return bad(fmt.Sprintf("its bus port would be %d: give one", p.busPort))
	}
	return p, nil
}

// resolve finds the IP of a host: CLUSTER MEET and nodes.conf take no names.
func (p *place) resolve(ctx context.Context) error {
	if ip, err := netip.ParseAddr(p.host); err == nil {
		p.ip = ip.Unmap()
		return nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.host)
	if err != nil || len(found) == 0 {
		return hint.Add(fmt.Errorf("resolve %s: no address is known for this name", p.host),
			"a cluster's nodes know each other by IP: give one, or mend the name")
	}
	// The same address on every run, IPv4 before IPv6, as redis-cli would.
	slices.SortFunc(found, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(a.Unmap().BitLen(), b.Unmap().BitLen()), a.Compare(b))
	})
	p.ip = found[0].Unmap()
	return nil
}

// parsePlaces reads addresses, each of which may stand there only once.
func parsePlaces(addresses []string) ([]place, error) {
	var places []place
	seen := map[string]bool{}
	for _, text := range addresses {
		p, err := parsePlace(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		if seen[p.addr()] {
			return nil, fmt.Errorf("address %s is given twice", p.addr())
		}
		seen[p.addr()] = true
		places = append(places, p)
	}
	return places, nil
}

// enough checks that there is an address for every shard and every replica.
func enough(given, shards, replicas int) error {
	need := shards + max(replicas, 0)
	if given >= need {
		return nil
	}
	text := fmt.Sprintf("%d %s given, the cluster is to have %d shards", given, plural(given, "address", "addresses"), shards)
	if replicas > 0 {
		text += fmt.Sprintf(" and %d %s asked for", replicas, plural(replicas, "replica", "replicas"))
	}
	return hint.Refuse(fmt.Errorf("too few nodes: %s", text), fmt.Sprintf("give at least %d addresses", need))
}

// distribute makes the first addresses primaries, in the order of shards, and gives
// of the others as many as are asked for to the shards as replicas, in turn: on no
// machine, and in no zone, that has a node of the shard already, wherever that can be.
func distribute(places []place, shards, replicas int) []place {
	places = slices.Clone(places)
	for i := range places {
		places[i].rank, places[i].primary = i, i < shards
	}
	if replicas < 0 {
		replicas = len(places) - shards
	}
	simple := inTurn(places[:shards+replicas], shards)
	lowest := priceOf(simple, shards)
	if lowest[sameHosts]+lowest[sameZones] == 0 {
		return simple
	}
	// What was simply dealt out puts some together: is there anything better?
	best := apart(simple[:shards], places[shards:], replicas)
	if best != nil && priceOf(best, shards).compare(lowest) < 0 {
		return best
	}
	return simple
}

// inTurn deals replicas out. Of the shards whose turn it could be it prefers one with
// no node on the replica's machine.
func inTurn(places []place, shards int) []place {
	places = slices.Clone(places)
	counts := make([]int, shards)
	machines := make([]map[string]bool, shards)
	for i := range shards {
		places[i].shard = i
		machines[i] = map[string]bool{places[i].host: true}
	}
	for i := shards; i < len(places); i++ {
		p := &places[i]
		fewest, best := slices.Min(counts), -1
		for s := range shards {
			if counts[s] == fewest && (best < 0 || machines[best][p.host] && !machines[s][p.host]) {
				best = s
			}
		}
		p.shard = best
		counts[best]++
		machines[best][p.host] = true
	}
	return places
}

// spread moves one address of each machine to the front, then the second of
// each, and so on, and of those one of each zone: primaries on as many machines, and
// in as many zones, as there are. On one machine, and with one node on each, the order
// stays.
func spread(places []place) []place {
	places = slices.Clone(places)
	turns := func(of func(place) string) {
		rounds := map[string]int{}
		type ranked struct {
			place
			round int
		}
		var all []ranked
		for _, p := range places {
			all = append(all, ranked{p, rounds[of(p)]})
			rounds[of(p)]++
		}
		slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.round, b.round) })
		for i, r := range all {
			places[i] = r.place
		}
	}
	turns(func(p place) string { return p.host })
	turns(func(p place) string { return p.zone })
	return places
}

// originalPlaces are the snapshot's own nodes, each in its own shard; at most
// the given number of replicas of them, in turn from each shard.
func originalPlaces(m *manifest.Manifest, replicas int) ([]place, error) {
	nodes := map[string]manifest.Node{}
	for _, n := range m.Topology.Nodes {
		nodes[n.ID] = n
	}
	var primaries []place
	waiting := make([][]place, len(m.Shards))
	for i, s := range m.Shards {
		p, err := originalPlace(nodes[s.Primary], i)
		if err != nil {
			return nil, err
		}
		p.primary = true
		primaries = append(primaries, p)
		for _, n := range m.Topology.Nodes {
			if n.Role != string(cluster.RoleReplica) || n.Primary != s.Primary {
				continue
			}
			if p, err = originalPlace(n, i); err != nil {
				return nil, err
			}
			waiting[i] = append(waiting[i], p)
		}
	}
	places := primaries
	for more := true; more; {
		more = false
		for i, w := range waiting {
			if len(w) > 0 && (replicas < 0 || len(places) < len(m.Shards)+replicas) {
				places, waiting[i], more = append(places, w[0]), w[1:], true
			}
		}
	}
	return places, enough(len(places), len(m.Shards), replicas)
}

func originalPlace(n manifest.Node, shard int) (place, error) {
	text := n.Address
	if n.BusPort > 0 {
		text += "@" + strconv.Itoa(n.BusPort)
	}
	p, err := parsePlace(text)
	p.shard = shard
	return p, err
}
