package cluster

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// NAT says how to reach nodes whose announced address does not lead to them
// from here: announced "host:port" to reachable "host:port". Only dialing
// uses it.
type NAT map[string]string

// ParseNAT reads "10.0.0.1:6379=127.0.0.1:7001", one announced address and
// the one that reaches it per element. No elements give a nil map.
func ParseNAT(pairs []string) (NAT, error) {
	var nat NAT
	for _, pair := range pairs {
		announced, reachable, found := strings.Cut(pair, "=")
		announced, reachable = strings.TrimSpace(announced), strings.TrimSpace(reachable)
		if !found || !isAddr(announced) || !isAddr(reachable) {
			return nil, fmt.Errorf("parse address mapping %q: want ANNOUNCED:PORT=REACHABLE:PORT", pair)
		}
		if old, taken := nat[announced]; taken && old != reachable {
			return nil, fmt.Errorf("parse address mapping %q: %s already leads to %s", pair, announced, old)
		}
		if nat == nil {
			nat = NAT{}
		}
		nat[announced] = reachable
	}
	return nat, nil
}

func isAddr(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n < 1<<16
}

// reach returns the address to dial for an announced one.
func (n NAT) reach(addr string) string {
	if to, mapped := n[addr]; mapped {
		return to
	}
	return addr
}
