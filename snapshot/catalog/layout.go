package catalog

import (
	"strings"
	"time"

	"github.com/slotark/slotark/snapshot/manifest"
)

// The names of a repository's objects. docs/storage.md shows the whole tree.
const (
	markerName   = "slotark.json"
	snapshotsDir = "snapshots"
	verifiedDir  = "verifications"
	drillsDir    = "drills"
	holdsDir     = "holds"
	restoresDir  = "restores"
	prunesDir    = "prunes"
	intentsDir   = "intents"
)

// idLength is how long every manifest.ID is.
const idLength = len("20260131T020000Z-x7k2p9")

// ManifestObject is the object that makes a snapshot exist, in its folder.
const ManifestObject = "manifest.json"

// Folder is where a snapshot's objects live: "prod/snapshots/<id>/".
func Folder(cluster string, id manifest.ID) string {
	return cluster + "/" + snapshotsDir + "/" + string(id) + "/"
}

// ManifestName is the object that makes a snapshot exist.
func ManifestName(cluster string, id manifest.ID) string {
	return Folder(cluster, id) + ManifestObject
}

// VerificationName is the record of one verification of a snapshot.
func VerificationName(cluster string, snapshot, id manifest.ID) string {
	return cluster + "/" + verifiedDir + "/" + string(snapshot) + "/" + string(id) + ".json"
}

// DrillName is the record of one drill of a snapshot.
func DrillName(cluster string, snapshot, id manifest.ID) string {
	return cluster + "/" + drillsDir + "/" + string(snapshot) + "/" + string(id) + ".json"
}

// holdName is the record by which a snapshot is held, or held no longer.
func holdName(cluster string, snapshot, id manifest.ID) string {
	return recordsOf(holdsDir, cluster, snapshot) + string(id) + ".json"
}

// recordsOf is the folder of one kind of a snapshot's records.
func recordsOf(kind, cluster string, snapshot manifest.ID) string {
	return cluster + "/" + kind + "/" + string(snapshot) + "/"
}

// pruneName is the record of one prune: what it dropped, and why.
func pruneName(cluster string, id manifest.ID) string {
	return cluster + "/" + prunesDir + "/" + string(id) + ".json"
}

// markName is the record by which a restore says that it reads a snapshot, or
// a prune that it is about to drop one: "<id>-begun.json".
func markName(kind, cluster string, snapshot, id manifest.ID, state string) string {
	return recordsOf(kind, cluster, snapshot) + string(id) + "-" + state + ".json"
}

// named is what an object's name says it is.
type named struct {
	cluster, kind string
	snapshot      manifest.ID
	record        manifest.ID // of a verification, drill, hold, restore or prune
	state         string      // of a restore or prune
}

// parseName understands manifests and records, and nothing else.
func parseName(name string) (named, bool) {
	// Most names are those of dumps: they are told apart without a copy.
	if strings.Count(name, "/") != 3 {
		return named{}, false
	}
	parts := strings.Split(name, "/")
	id, err := manifest.ParseID(parts[2])
	if err != nil {
		return named{}, false
	}
	n := named{cluster: parts[0], kind: parts[1], snapshot: id}
	switch n.kind {
	case snapshotsDir:
		if parts[3] != ManifestObject { // another object of the snapshot
			return named{}, false
		}
		return n, true
	case restoresDir, prunesDir:
		mark, ok := strings.CutSuffix(parts[3], ".json")
		if !ok || len(mark) <= idLength || mark[idLength] != '-' {
			return named{}, false
		}
		n.record, n.state = manifest.ID(mark[:idLength]), mark[idLength+1:]
		_, err := manifest.ParseID(mark[:idLength])
		return n, err == nil
	case verifiedDir, drillsDir, holdsDir:
		record, err := manifest.ParseID(strings.TrimSuffix(parts[3], ".json"))
		n.record = record
		return n, err == nil && strings.HasSuffix(parts[3], ".json")
	}
	return named{}, false
}

// SnapshotTime is when the snapshot was begun whose object a name is. It is
// false for all that is no part of a snapshot.
func SnapshotTime(name string) (time.Time, bool) {
	_, kind, id, _ := folderOf(name)
	if kind != snapshotsDir || id == "" {
		return time.Time{}, false
	}
	return id.Time(), true
}

// folderOf says of an object's name which snapshot it is filed under, in which
// kind of folder, and what it is called there. The snapshot is "" for what is
// filed under none.
func folderOf(name string) (cluster, kind string, snapshot manifest.ID, rest string) {
	cluster, rest, _ = strings.Cut(name, "/")
	kind, rest, _ = strings.Cut(rest, "/")
	id, rest, below := strings.Cut(rest, "/")
	switch kind {
	case snapshotsDir, verifiedDir, drillsDir, holdsDir, restoresDir, prunesDir, intentsDir:
		if snapshot, err := manifest.ParseID(id); err == nil && below {
			return cluster, kind, snapshot, rest
		}
	}
	return cluster, kind, "", rest
}
