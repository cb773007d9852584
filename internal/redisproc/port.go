package redisproc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// BusOffset is where a node's cluster bus listens unless told otherwise: this
// much above the port for clients.
const BusOffset = 10000

// Ports are picked so that port and bus port both lie below 32768, where Linux
// begins to hand out ports for outgoing connections: a port found free here is
// not taken by some client a moment later.
const (
	firstPort = 11000
	lastPort  = 32767 - BusOffset
)

var errNoPort = errors.New("no free port found")

// FreePorts returns n different ports of host that are free, together with
// their bus ports. Nothing reserves them: who needs them to stay free until a
// server listens retries with others.
func FreePorts(host string, n int) ([]int, error) {
	taken := map[int]bool{}
	var ports []int
	for range 100 + 20*n {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if taken[port] || taken[port+BusOffset] || !isFree(host, port) || !isFree(host, port+BusOffset) {
			continue
		}
		taken[port], taken[port+BusOffset] = true, true
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("pick %d ports of %s: %w", n, host, errNoPort)
}

func isFree(host string, port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
