package cluster_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/slot"
)

const (
	idA = "07c37dfeb235213a872192d90877d0cd55635b91"
	idB = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1"
	idC = "292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f"
)

func slots(t *testing.T, text string) slot.Set {
	t.Helper()
	set, err := slot.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestParseNodes(t *testing.T) {
	cases := map[string]struct {
		line, addr string
		want       cluster.NodeLine
	}{
		"redis 6.2 replica": {
			idA + " 127.0.0.1:30004@31004 slave " + idB + " 0 1426238317239 4 connected",
			"127.0.0.1:30004",
			cluster.NodeLine{
				ID: idA, Host: "127.0.0.1", Port: 30004, BusPort: 31004, Flags: []string{"slave"},
				PrimaryID: idB, PongReceived: 1426238317239, ConfigEpoch: 4, Linked: true,
			},
		},
		"redis 3 without a bus port": {
			idA + " 10.0.0.1:6379 master - 0 0 1 disconnected 5",
			"10.0.0.1:6379",
			cluster.NodeLine{
				ID: idA, Host: "10.0.0.1", Port: 6379, BusPort: 16379, Flags: []string{"master"},
				ConfigEpoch: 1, Slots: slots(t, "5"),
			},
		},
		"redis 7.0 with a hostname": {
			idA + " 127.0.0.1:7001@17001,node1.example.com myself,master - 0 0 1 connected 0-5460 5462",
			"127.0.0.1:7001",
			cluster.NodeLine{
				ID: idA, Host: "127.0.0.1", Port: 7001, BusPort: 17001, Hostname: "node1.example.com",
				Flags: []string{"myself", "master"}, ConfigEpoch: 1, Linked: true, Slots: slots(t, "0-5460,5462"),
			},
		},
		"redis 7.2 nodes.conf with aux fields and no hostname": {
			idA + " 127.0.0.1:7001@17001,,tls-port=0,shard-id=" + idC + " master,nofailover - 7 8 1 connected",
			"127.0.0.1:7001",
			cluster.NodeLine{
				ID: idA, Host: "127.0.0.1", Port: 7001, BusPort: 17001,
				Aux: map[string]string{"tls-port": "0", "shard-id": idC}, PingSent: 7, PongReceived: 8,
				Flags: []string{"master", "nofailover"}, ConfigEpoch: 1, Linked: true,
			},
		},
		"valkey 9 with an availability zone": {
			idA + " 127.0.0.1:7001@17001,h,availability-zone=eu-1,shard-id=" + idC + " master - 0 0 1 connected",
			"127.0.0.1:7001",
			cluster.NodeLine{
				ID: idA, Host: "127.0.0.1", Port: 7001, BusPort: 17001, Hostname: "h",
				Aux: map[string]string{"availability-zone": "eu-1", "shard-id": idC}, Flags: []string{"master"},
				ConfigEpoch: 1, Linked: true,
			},
		},
		"ipv6": {
			idA + " fe80::1:2:7001@17001 master - 0 0 1 connected",
			"[fe80::1:2]:7001",
			cluster.NodeLine{
				ID: idA, Host: "fe80::1:2", Port: 7001, BusPort: 17001, Flags: []string{"master"}, ConfigEpoch: 1, Linked: true,
			},
		},
		"a node that does not know its own ip": {
			idA + " :7001@17001 myself,master - 0 0 0 connected", "",
			cluster.NodeLine{ID: idA, Port: 7001, BusPort: 17001, Flags: []string{"myself", "master"}, Linked: true},
		},
		"noaddr and fail": {
			idA + " :0@0,, master,fail,noaddr - 1 2 3 disconnected", "",
			cluster.NodeLine{ID: idA, Flags: []string{"master", "fail", "noaddr"}, PingSent: 1, PongReceived: 2, ConfigEpoch: 3},
		},
		"handshake": {
			idA + " 127.0.0.1:7001@17001 handshake - 0 0 0 disconnected", "127.0.0.1:7001",
			cluster.NodeLine{ID: idA, Host: "127.0.0.1", Port: 7001, BusPort: 17001, Flags: []string{"handshake"}},
		},
		"noflags": {
			idA + " 127.0.0.1:7001@17001 noflags - 0 0 0 disconnected", "127.0.0.1:7001",
			cluster.NodeLine{ID: idA, Host: "127.0.0.1", Port: 7001, BusPort: 17001},
		},
		"open slots": {
			idA + " 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-9 [7->-" + idB + "] [93-<-" + idC + "]",
			"127.0.0.1:7001",
			cluster.NodeLine{
				ID: idA, Host: "127.0.0.1", Port: 7001, BusPort: 17001, Flags: []string{"myself", "master"}, ConfigEpoch: 1,
				Linked: true, Slots: slots(t, "0-9"), Migrating: map[int]string{7: idB}, Importing: map[int]string{93: idC},
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := cluster.ParseNodes("\n" + c.line + "\nvars currentEpoch 6 lastVoteEpoch 0\n")
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 {
				t.Fatalf("%d nodes", len(got))
			}
			if diff := cmp.Diff(c.want, got[0], cmp.Comparer(func(a, b slot.Set) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if addr := got[0].Addr(); addr != c.addr {
				t.Errorf("address %q, want %q", addr, c.addr)
			}
		})
	}
}

func TestParseNodesRefuses(t *testing.T) {
	good := idA + " 127.0.0.1:7001@17001 master - 0 0 1 connected"
	cases := map[string]struct{ text, want string }{
		"torn line":         {idA + " 127.0.0.1:7001@17001 master -", "4 fields"},
		"id":                {"x" + good, "no node id"},
		"id of a primary":   {strings.Replace(good, " - ", " 12 ", 1), "no id of a primary"},
		"address":           {strings.Replace(good, "127.0.0.1:7001@17001", "nowhere", 1), "no address"},
		"port":              {strings.Replace(good, "7001@", "70010@", 1), "no port"},
		"bus port":          {strings.Replace(good, "17001", "x", 1), "no port"},
		"epoch":             {strings.Replace(good, " 1 connected", " -1 connected", 1), "no number"},
		"slot out of range": {good + " 0-16384", "16383"},
		"open slot":         {good + " [5->-x]", "no open slot"},
		"open slots":        {good + " [5-6->-" + idB + "]", "no open slot"},
		"twice":             {good + "\n" + good, "twice"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			nodes, err := cluster.ParseNodes(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "parse line") {
				t.Errorf("got %v, %v", nodes, err)
			}
		})
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add(idA + " :7001@17001,h,a=b myself,master - 0 0 1 connected 0-9 [7->-" + idB + "] [93-<-" + idC + "]\nvars currentEpoch 1\n")
	f.Fuzz(func(_ *testing.T, text string) {
		nodes, _ := cluster.ParseNodes(text)
		for _, node := range nodes {
			_, _ = node.Addr(), node.Role()
		}
	})
}
