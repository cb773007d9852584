package settings

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Options says whose settings to read.
type Options struct {
	Cluster  string
	Access   *cluster.Access
	Topology *cluster.Topology
	Secrets  bool // keep passwords, their hashes and the arguments of modules
	Now      time.Time
}

// askLimit is how many nodes are asked at once.
const askLimit = 16

// Read asks every node of the topology for its settings, in one round trip
// each. It gives no error: what could not be read is absent.
func Read(ctx context.Context, o Options) (*manifest.Settings, []manifest.Finding) {
	members := o.Topology.Members()
	answers := make([]answer, len(members))
	group := errgroup.Group{}
	group.SetLimit(askLimit)
	for i, member := range members {
		group.Go(func() error {
			answers[i] = ask(ctx, o.Access, member)
			return nil
		})
	}
	_ = group.Wait() // each answer holds its own errors
	m := &merging{Options: o, members: members, answers: answers, withheld: map[string]bool{}}
	return m.settings(), m.findings()
}

// answer is what one node said.
type answer struct {
	server    *manifest.Build
	config    map[string]manifest.Text // nil: it did not say
	users     []manifest.User          // nil: it did not say
	modules   []manifest.Module
	libraries []manifest.Library // a primary's
	failures  map[string]failure // by part
}

// failure is why a part is absent.
type failure struct {
	right  string // the ACL rule that is missing; "" where it is something else
	reason string
}

// question is one command and what its answer is part of.
type question struct {
	part    string
	command []any
	right   string // the ACL rule that it needs
	since   int    // the major version that has it first: older servers have nothing that it would tell
	primary bool   // it is for primaries only: their replicas have the same
	read    func(*answer, any) error
}

var questions = []question{
	{manifest.PartServer, []any{"INFO", "server"}, "+info", 0, false, func(a *answer, reply any) error {
		a.server = buildOf(cluster.ParseInfo(fmt.Sprint(reply)))
		return nil
	}},
	{manifest.PartConfig, []any{"CONFIG", "GET", "*"}, "+config|get", 0, false, func(a *answer, reply any) (err error) {
		a.config, err = parseConfig(reply)
		return err
	}},
	{manifest.PartUsers, []any{"ACL", "LIST"}, "+acl|list", 6, false, func(a *answer, reply any) (err error) {
		a.users, err = ParseUsers(reply)
		return err
	}},
	{manifest.PartModules, []any{"MODULE", "LIST"}, "+module|list", 0, false, func(a *answer, reply any) (err error) {
		a.modules, err = parseModules(reply)
		return err
	}},
	{manifest.PartFunctions, []any{"FUNCTION", "LIST", "WITHCODE"}, "+function|list", 7, true, func(a *answer, reply any) (err error) {
		a.libraries, err = parseLibraries(reply)
		return err
	}},
}

// asked tells whether a question is for a node.
func (q *question) asked(m cluster.Member) bool { return !q.primary || m.Role == cluster.RolePrimary }

// ask asks one node everything in one round trip.
func ask(ctx context.Context, access *cluster.Access, member cluster.Member) answer {
	a := answer{failures: map[string]failure{}}
	var mine []question
	var commands [][]any
	for _, q := range questions {
		if q.asked(member) {
			mine, commands = append(mine, q), append(commands, q.command)
		}
	}
	if !member.Reachable {
		for _, q := range mine {
			a.failures[q.part] = failure{reason: "the node cannot be reached"}
		}
		return a
	}
	node := access.Open(member.Addr)
	defer func() { _ = node.Close() }()
	// Each command's failure is in the place of its reply.
	replies, _ := node.Pipeline(ctx, commands)
	for i, q := range mine {
		err, failed := replies[i].(error)
		if !failed {
			if err = q.read(&a, replies[i]); err == nil {
				continue
			}
		}
		var refused cluster.ServerError
		switch unknown := errors.As(err, &refused) && refused.IsUnknownCommand(); {
		case unknown && major(member.Version) < q.since:
		case unknown:
			a.failures[q.part] = failure{reason: "the server does not know " + q.name()}
		case cluster.IsCode(err, "NOPERM"):
			a.failures[q.part] = failure{q.right, q.name() + " is not allowed to user " + access.User() + ": " + q.right}
		default:
			a.failures[q.part] = failure{reason: strings.ReplaceAll(err.Error(), "\n", " ")}
		}
	}
	return a
}

// major is the first number of a version.
func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	number, _ := strconv.Atoi(first)
	return number
}

// name is the command without its arguments: "CONFIG GET".
func (q *question) name() string { return fmt.Sprintf("%s %s", q.command[0], q.command[1]) }
