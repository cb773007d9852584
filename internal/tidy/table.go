package tidy

// module is the path of this module, as go.mod has it.
const module = "github.com/slotark/slotark"

// layers gives each package its height. A package imports only packages that
// stand strictly lower, so the list read from top to bottom is the order of
// DESIGN.md, and a cycle cannot even be planned. The gaps leave room.
var layers = map[string]int{
	"cmd/slotark":   300,
	"internal/demo": 300,

	"internal/server": 280,
	"internal/config": 270, // the settings of everything below, so it may name it

	"scheduler":           250,
	"restore/drill":       240,
	"restore/drill/probe": 238, // asks what was restored
	"internal/agent":      235, // runs a capture, and a restore, beside a node
	"restore/host":        235,
	"restore":             230,
	"restore/part":        230,
	"verify":              220,
	"snapshot":            210,
	"snapshot/collect":    200,
	"snapshot/settings":   196, // asks nodes, and puts nothing
	"snapshot/preflight":  195,
	"snapshot/catalog":    190,

	"snapshot/manifest": 180,

	"storage/location":        170,
	"storage/mirror":          160,
	"storage/prompt":          160,
	"storage/limit":           160,
	"storage/fs":              160,
	"storage/s3":              160,
	"storage/sealtest":        165,
	"storage/seal":            160,
	"storage/storagetest":     150,
	"storage/contract":        148,
	"internal/s3test":         150,
	"internal/fault":          150,
	"storage/internal/source": 145,
	"storage":                 140,

	"internal/clustertest": 120,
	"internal/dataset":     110,
	"internal/servertest":  110,
	"internal/redisproc":   105, // speaks to its server by internal/cluster's protocol code
	"internal/cluster":     100,
	"internal/aof":         95, // a file of it may begin with a dump
	"internal/rdb":         90,
	"internal/slot":        70,

	"internal/atomicfile": 20,
	"internal/clock":      10,
	"internal/grace":      10,
	"internal/hint":       10,
	"internal/human":      10,
	"internal/progress":   10,
	"internal/readahead":  10,

	// Programs and tests of the build. They import nothing of the module.
	"internal/testreport": 0,
	"internal/tidy":       0,
}

// sameLayer lists the imports between packages of one height that are meant:
// importer, then imported.
var sameLayer = map[[2]string]bool{}

// restricted names the packages that are not for everybody, and the packages
// whose production code may import them all the same. Test files always may,
// and so may the other packages of this list.
var restricted = map[string][]string{
	"internal/clustertest": nil,
	"internal/s3test":      nil,
	"internal/servertest":  nil,
	"internal/fault":       nil,
	"internal/tidy":        nil,
	"storage/sealtest":     nil,
	"storage/storagetest":  nil,
	"internal/dataset":     {"internal/demo"},
}

// testOnly tells whether a package is part of the tests, though its files are
// not named _test.go.
func testOnly(pkg string) bool {
	allowed, listed := restricted[pkg]
	return listed && allowed == nil
}

// boundary is an import that stays wrong whatever the layers say.
type boundary struct {
	from []string // packages, with all below them
	to   []string // packages, with all below them
	why  string
}

var boundaries = []boundary{
	{
		from: []string{"snapshot"}, to: []string{"verify", "restore"},
		why: "taking a snapshot must not depend on what is done with it later",
	},
	{
		from: []string{"storage"},
		to:   []string{"internal/agent", "internal/cluster", "internal/rdb", "internal/aof", "internal/slot", "internal/redisproc"},
		why:  "storage knows nothing of Redis",
	},
	{
		from: []string{"scheduler"},
		to:   []string{"snapshot", "verify", "restore", "storage", "internal/cluster", "internal/rdb", "internal/aof", "internal/slot", "internal/agent", "internal/redisproc"},
		why:  "the scheduler knows jobs, nothing of backups: hand it a Job from cmd/slotark",
	},
}

// The limits of STYLE.md, in lines.
const (
	maxFileLines     = 400
	maxTestFileLines = 600
	maxFuncLines     = 70
)
