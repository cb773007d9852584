package catalog

import (
	"strings"

	"github.com/slotark/slotark/snapshot/manifest"
)

// The names of a repository's objects. docs/storage.md shows the whole tree.
const (
	markerName   = "slotark.json"
	snapshotsDir = "snapshots"
	verifiedDir  = "verifications"
	drillsDir    = "drills"
)

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

// named is what an object's name says it is.
type named struct {
	cluster, kind string
	snapshot      manifest.ID
	record        manifest.ID // of a verification or drill
}

// parseName understands manifests and records, and nothing else.
func parseName(name string) (named, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return named{}, false
	}
	id, err := manifest.ParseID(parts[2])
	if err != nil {
		return named{}, false
	}
	n := named{cluster: parts[0], kind: parts[1], snapshot: id}
	switch n.kind {
	case snapshotsDir:
		return n, parts[3] == ManifestObject
	case verifiedDir, drillsDir:
		record, err := manifest.ParseID(strings.TrimSuffix(parts[3], ".json"))
		n.record = record
		return n, err == nil && strings.HasSuffix(parts[3], ".json")
	}
	return named{}, false
}
