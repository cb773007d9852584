package cluster

import (
	"cmp"
	"net"
	"strconv"
)

// addr is a node's announced address, "" where nobody knows it. A node that was
// given no address announces none to itself: others may know it, and else it
// is where it was asked.
func (s *surveyed) addr(id string) string {
	if addr := s.first.byID[id].Addr(); addr != "" {
		return addr
	}
	for other, seen := range s.views {
		if addr := seen.byID[id].Addr(); other != id && addr != "" {
			return addr
		}
	}
	if seen := s.views[id]; seen != nil && seen.self.ID == id {
		return net.JoinHostPort(seen.host(), strconv.Itoa(seen.self.Port))
	}
	return ""
}

// name is what a person knows a node by: its address, or else its id.
func (s *surveyed) name(id string) string { return cmp.Or(s.addr(id), id) }

// ordered are the views in the order of the first one's node list, so that the
// same trouble reads the same each time.
func (s *surveyed) ordered() []*view {
	var views []*view
	for _, node := range s.first.nodes {
		if seen := s.views[node.ID]; seen != nil {
			views = append(views, seen)
		}
	}
	return views
}

// flags counts how many of the other nodes that gave a view flag a node as
// failed, or suspect it.
func (s *surveyed) flags(id string) (failed, suspected, asked int) {
	for other, seen := range s.views {
		line, known := seen.byID[id]
		if other == id || seen.loading != nil || !known {
			continue
		}
		asked++
		switch {
		case line.Has("fail"):
			failed++
		case line.Has("fail?"):
			suspected++
		}
	}
	return failed, suspected, asked
}

// loading tells whether a node still reads its data.
func (s *surveyed) loading(seen *view) bool {
	return seen.loading != nil || seen.info.Int("loading") == 1
}
