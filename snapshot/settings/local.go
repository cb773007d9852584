package settings

import (
	"strings"

	"github.com/slotark/slotark/snapshot/manifest"
)

// local are the configuration parameters that belong to the machine a node runs
// on: where its files lie, where it listens, how it is started. On another
// machine they would be wrong.
var local = map[string]bool{
	"dir": true, "aclfile": true, "logfile": true, "pidfile": true, "cluster-config-file": true, "preload-file": true,
	"bind": true, "bind-source-addr": true, "port": true, "tls-port": true, "cluster-port": true,
	"unixsocket": true, "unixsocketperm": true, "unixsocketgroup": true, "socket-mark-id": true,
	"rdma-bind": true, "rdma-port": true, "availability-zone": true,
	"replicaof": true, "slaveof": true, "daemonize": true, "supervised": true,
	"tls-cert-file": true, "tls-key-file": true, "tls-client-cert-file": true, "tls-client-key-file": true,
	"tls-ca-cert-file": true, "tls-ca-cert-dir": true, "tls-dh-params-file": true,
	"server_cpulist": true, "bio_cpulist": true, "aof_rewrite_cpulist": true, "bgsave_cpulist": true,
	"server-cpulist": true, "bio-cpulist": true, "aof-rewrite-cpulist": true, "bgsave-cpulist": true,
}

// Local tells whether a configuration parameter belongs to the machine of a node.
func Local(name string) bool {
	name = strings.ToLower(name)
	return local[name] || strings.HasPrefix(name, "cluster-announce-") ||
		name == "replica-announce-ip" || name == "replica-announce-port" || name == "slave-announce-ip" || name == "slave-announce-port"
}

// oldNames are the words of parameters that servers know by two names: the old
// one is left out where the new one says the same.
var oldNames = map[string]string{"slave": "replica", "ziplist": "listpack"}

// keep makes of a node's configuration what is kept of it. Without secrets the
// names of those that are set go into withheld.
func keep(config map[string]manifest.Text, secrets bool, withheld map[string]bool) map[string]manifest.Text {
	kept := map[string]manifest.Text{}
	for name, value := range config {
		switch {
		case Local(name) || isOldName(config, name, value):
		case !secrets && manifest.IsSecret(name) && value != "":
			withheld[name] = true
		default:
			kept[name] = value
		}
	}
	return kept
}

func isOldName(config map[string]manifest.Text, name string, value manifest.Text) bool {
	for old, word := range oldNames {
		if !strings.Contains(name, old) {
			continue
		}
		if same, there := config[strings.Replace(name, old, word, 1)]; there && same == value {
			return true
		}
	}
	return false
}
