package verify

import (
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/internal/slot"
)

// Mode is how the server that wrote a dump was run.
type Mode string

// The modes that can be told from a dump.
const (
	ModeUnknown    Mode = ""
	ModeCluster    Mode = "cluster"
	ModeStandalone Mode = "standalone"
)

// ModeOf tells the mode from what a dump holds. Servers before Redis 7.4 and
// Valkey 8 write the same in both, unless more than one database holds keys.
func ModeOf(dump *rdb.Report) Mode {
	engine, version := ServerOf(dump)
	switch {
	case dump.SlotsAnnounced:
		return ModeCluster
	case dump.MaxDB > 0:
		return ModeStandalone
	case dump.Keys == 0:
		return ModeUnknown
	}
	first, _, _ := strings.Cut(version, ".")
	major, _ := strconv.Atoi(first)
	announces := dump.Version >= 12 || engine == "valkey" && major >= 8
	if announces {
		return ModeStandalone
	}
	return ModeUnknown
}

// ServerOf is what a dump says of the server that wrote it: "redis" or
// "valkey", and its version, "" where it does not say. Valkey writes the magic
// of Redis up to 8.1, and its own name in a fact.
func ServerOf(dump *rdb.Report) (engine, version string) {
	if version = dump.Aux["valkey-ver"]; version != "" {
		return "valkey", version
	}
	return dump.Engine, dump.Aux["redis-ver"]
}

// SlotsOf are the slots that hold a key.
func SlotsOf(dump *rdb.Report) slot.Set {
	var holding slot.Set
	for n := range dump.Slots {
		if dump.Slots[n].Keys > 0 {
			holding.Add(n)
		}
	}
	return holding
}
