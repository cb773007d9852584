package restore

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/slotark/slotark/internal/human"
)

// price is what a placement costs: what stands first counts before all that follows.
type price [4]int64

const (
	uneven    = iota // replicas beyond as many as each shard has at least
	sameHosts        // pairs of nodes of one shard on one host
	sameZones        // pairs of nodes of one shard in one zone
	late             // of the addresses that are taken, where they stand
)

func (p price) plus(q price) price {
	for i := range p {
		p[i] += q[i]
	}
	return p
}

func (p price) minus(q price) price {
	for i := range p {
		p[i] -= q[i]
	}
	return p
}

func (p price) compare(q price) int { return slices.Compare(p[:], q[:]) }

// road is an edge that one replica can go along.
type road struct {
	to, back int // back is the road's other direction, in the roads of to
	free     bool
	price    price
}

// roads is a network in which the cheapest way of each replica, one after the other,
// gives the cheapest placement of all: successive shortest paths of a min-cost flow.
// A second node of one host, or zone, in a shard costs one pair, a third two more; so
// the prices of roads beside each other only rise, and that is exact.
type roads struct{ from [][]road }

func (r *roads) place() int {
	r.from = append(r.from, nil)
	return len(r.from) - 1
}

func (r *roads) lead(a, b int, p price) {
	r.from[a] = append(r.from[a], road{b, len(r.from[b]), true, p})
	r.from[b] = append(r.from[b], road{a, len(r.from[a]) - 1, false, price{}.minus(p)})
}

// send sends one replica the cheapest way from a to b, if there is one.
func (r *roads) send(a, b int) bool {
	type step struct{ place, road int }
	best := make([]price, len(r.from))
	by := make([]*step, len(r.from))
	queued := make([]bool, len(r.from))
	by[a] = &step{-1, -1}
	for queue := []int{a}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		queued[at] = false
		for i, road := range r.from[at] {
			if !road.free {
				continue
			}
			p := best[at].plus(road.price)
			if road.to == a || by[road.to] != nil && best[road.to].compare(p) <= 0 {
				continue
			}
			best[road.to], by[road.to] = p, &step{at, i}
			if !queued[road.to] {
				queued[road.to] = true
				queue = append(queue, road.to)
			}
		}
	}
	if by[b] == nil {
		return false
	}
	for at := b; at != a; at = by[at].place {
		taken := &r.from[by[at].place][by[at].road]
		taken.free = false
		r.from[at][taken.back].free = true
	}
	return true
}

// priceOf is what a placement costs.
func priceOf(places []place, shards int) price {
	var p price
	nodes := make([][]place, shards)
	for i, one := range places {
		if !one.primary {
			p[late] += int64(one.rank)
		}
		for _, other := range nodes[one.shard] {
			if one.host == other.host {
				p[sameHosts]++
			}
			if one.zone == other.zone {
				p[sameZones]++
			}
		}
		nodes[one.shard] = append(nodes[one.shard], places[i])
	}
	least := (len(places) - shards) / shards
	for _, of := range nodes {
		p[uneven] += int64(max(0, len(of)-1-least))
	}
	return p
}

// apart gives shards that have their primaries as many replicas as are asked for, out
// of all addresses that are left, at the lowest price there is.
func apart(primaries, left []place, replicas int) []place {
	var network roads
	begin, end := network.place(), network.place()
	shards := len(primaries)
	byHost := map[string][]place{}
	var hosts []string
	for _, p := range left {
		if byHost[p.host] == nil {
			hosts = append(hosts, p.host)
		}
		byHost[p.host] = append(byHost[p.host], p)
	}
	shardAt := make([]int, shards)
	for s := range shards {
		shardAt[s] = network.place()
		for n := range replicas/shards + 1 {
			var p price
			if n >= replicas/shards {
				p[uneven] = 1
			}
			network.lead(shardAt[s], end, p)
		}
	}
	type inShard struct {
		zone  string
		shard int
	}
	zoneAt := map[inShard]int{}
	hostAt := map[string]int{}
	for _, host := range hosts {
		hostAt[host] = network.place()
		for _, p := range byHost[host] {
			network.lead(begin, hostAt[host], price{late: int64(p.rank)})
		}
		zone := byHost[host][0].zone
		for s, primary := range primaries {
			at, known := zoneAt[inShard{zone, s}]
			if !known {
				at = network.place()
				zoneAt[inShard{zone, s}] = at
				pairs(&network, at, shardAt[s], sameZones, zone == primary.zone, replicas/shards+1)
			}
			pairs(&network, hostAt[host], at, sameHosts, host == primary.host, min(len(byHost[host]), replicas/shards+1))
		}
	}
	for range replicas {
		if !network.send(begin, end) {
			return nil
		}
	}
	placed := slices.Clone(primaries)
	for _, host := range hosts {
		waiting := byHost[host] // one is as good as another: the first first
		for s := range shards {
			at := zoneAt[inShard{byHost[host][0].zone, s}]
			for _, road := range network.from[hostAt[host]] {
				if road.to == at && !road.free {
					waiting[0].shard = s
					placed, waiting = append(placed, waiting[0]), waiting[1:]
				}
			}
		}
	}
	slices.SortStableFunc(placed[shards:], func(a, b place) int { return cmp.Compare(a.rank, b.rank) })
	return placed
}

// pairs leads so many replicas from one place to another: each makes a pair with every
// one before it, and with the primary, if that is the same.
func pairs(network *roads, a, b, kind int, same bool, most int) {
	for n := range most {
		var p price
		p[kind] = int64(n)
		if same {
			p[kind]++
		}
		network.lead(a, b, p)
	}
}

// zoned gives addresses the zones of their hosts. A host of which none was said is in
// one of its own.
func (r *run) zoned(places []place) []place {
	var without []string
	for i := range places {
		p := &places[i]
		if zone := r.Zones[p.host]; zone != "" {
			p.zone = "zone " + zone
		} else if len(r.Zones) > 0 && !slices.Contains(without, p.host) {
			without = append(without, p.host)
		}
	}
	if len(without) > 0 {
		r.outcome.Notes = append(r.outcome.Notes, "no zone is given for "+human.List(without)+": each is taken for one of its own")
	}
	return places
}

// noteTogether says which shards have nodes on one host, or in one zone, though with
// these addresses it could not be otherwise.
func (r *run) noteTogether() {
	hosts, zones := map[int]bool{}, map[int]bool{}
	for i, a := range r.places {
		for _, b := range r.places[:i] {
			if a.shard != b.shard {
				continue
			}
			hosts[a.shard] = hosts[a.shard] || a.host == b.host
			zones[a.shard] = zones[a.shard] || a.host != b.host && a.zone == b.zone
		}
	}
	for _, kind := range []struct {
		what string
		of   map[int]bool
	}{{"on one host", hosts}, {"in one zone", zones}} {
		what := kind.what
		var shards []string
		for s := range r.layout {
			if kind.of[s] {
				shards = append(shards, r.layout[s].String())
			}
		}
		if len(shards) > 0 {
			r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("%s %s nodes %s, and with these addresses no placement has fewer: %s",
				human.Plural(len(shards), "shard"), plural(len(shards), "has", "have"), what, human.List(shards)))
		}
	}
}
