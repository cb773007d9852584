package restore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/manifest"
)

// The first RDB version of Valkey's own: 12 to 79 are Redis's alone.
const valkeyRDB = 80

// release is a server version, as far as its RDB version depends on it.
type release struct{ major, minor int }

func parseRelease(version string) (release, bool) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return release{}, false
	}
	major, errMajor := strconv.Atoi(parts[0])
	minor, errMinor := strconv.Atoi(parts[1])
	return release{major, minor}, errMajor == nil && errMinor == nil
}

func (r release) atLeast(major, minor int) bool {
	return r.major > major || r.major == major && r.minor >= minor
}

// redisRDB is the RDB version that each release of Redis introduced, newest
// first: RDB_VERSION in rdb.h. A server reads it and all before.
var redisRDB = []struct {
	since release
	rdb   int
}{
	{release{8, 10}, 15}, {release{8, 8}, 14}, {release{8, 6}, 13}, {release{7, 4}, 12},
	{release{7, 2}, 11}, {release{7, 0}, 10}, {release{5, 0}, 9}, {release{4, 0}, 8},
}

// readable tells whether a server takes values of a dump of this RDB version:
// RESTORE refuses a payload of a version above its own.
func readable(engine, version string, rdb int) bool {
	r, known := parseRelease(version)
	if !known {
		return false
	}
	if engine == "valkey" {
		switch {
		case rdb < 12:
			return true // Valkey 7.2, its first release, is at 11
		case rdb < valkeyRDB:
			return false
		case rdb == valkeyRDB:
			return r.atLeast(9, 0)
		}
		return r.atLeast(9, 2) && rdb == valkeyRDB+1
	}
	for _, row := range redisRDB {
		if r.atLeast(row.since.major, row.since.minor) {
			return rdb <= row.rdb
		}
	}
	return false
}

// unreadableBy says that a server does not take values of a snapshot's dumps.
func unreadableBy(m *manifest.Manifest, engine, version string) []string {
	for _, s := range m.Shards {
		if rdb := s.Dump.RDBVersion; !readable(engine, version, rdb) {
			return []string{fmt.Sprintf("runs %s %s, which does not read what %s wrote (RDB %d of %s %s)", engineName(engine), version,
				writerOf(rdb), rdb, engineName(m.Server.Engine), m.Server.Version)}
		}
	}
	return nil
}

// Reads refuses a server that does not read a snapshot's dumps, before anything is
// provisioned: engine is "redis" or "valkey". What runs it is called by name.
func Reads(m *manifest.Manifest, name, engine, version string) error {
	facts := unreadableBy(m, engine, version)
	if len(facts) == 0 {
		return nil
	}
	return hint.Refuse(fmt.Errorf("%s %s", name, facts[0]), hintVersion)
}

// writerOf says which servers write an RDB version, for a person.
func writerOf(rdb int) string {
	if rdb >= valkeyRDB {
		return map[int]string{80: "Valkey 9.0", 81: "Valkey 9.2"}[min(rdb, 81)]
	}
	for _, row := range redisRDB {
		if rdb >= row.rdb {
			return fmt.Sprintf("Redis %d.%d", row.since.major, row.since.minor)
		}
	}
	return "Redis before 4.0"
}

// engineName is the engine as its makers write it.
func engineName(engine string) string {
	if engine == "valkey" {
		return "Valkey"
	}
	return "Redis"
}
