package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/settings"
	"github.com/slotark/slotark/verify"
)

// AllConfig as [Apply].Config are all parameters of the snapshot that do not belong to
// a machine: its size, its files, its addresses.
const AllConfig = "all"

// Apply says which of the snapshot's settings the nodes get when all keys were found
// equal, as the very last step. The zero value is none.
type Apply struct {
	Config []string // names of parameters, or AllConfig
	Users  bool     // ACL users
}

func (a Apply) any() bool { return len(a.Config) > 0 || a.Users }

// sized are parameters that suit a machine, or are its operator's business: they are
// applied where they are named, and are not among all.
var sized = map[string]bool{
	"maxmemory": true, "maxmemory-clients": true, "maxclients": true, "io-threads": true, "io-threads-do-reads": true, "tcp-backlog": true,
	"oom-score-adj": true, "oom-score-adj-values": true, "disable-thp": true, "loglevel": true, "proc-title-template": true, "locale-collate": true,
	"syslog-enabled": true, "syslog-ident": true, "syslog-facility": true, "enable-debug-command": true, "enable-module-command": true, "enable-protected-configs": true,
	"always-show-logo": true, "appenddirname": true, "appendfilename": true, "dbfilename": true, "min-replicas-to-write": true, "min-slaves-to-write": true,
}

// neverApplied says why a parameter stays the node's own; "" where it may be applied.
func neverApplied(name string) string {
	switch name = strings.ToLower(name); {
	case manifest.IsSecret(name), name == "masteruser", name == "primaryuser":
		return "it is how the nodes are reached"
	case settings.Local(name), strings.HasPrefix(name, "tls-"), strings.HasPrefix(name, "cluster-"):
		return "it belongs to the node"
	}
	return ""
}

// checkApply reads the settings that are to be applied, and refuses what cannot be.
func (r *run) checkApply(ctx context.Context) error {
	if !r.Apply.any() {
		return nil
	}
	if r.ToDir != "" {
		r.outcome.Notes = append(r.outcome.Notes, fmt.Sprintf("settings are applied to running nodes: when these run and slotark verify %s --live has found them equal, apply what slotark show %s --settings shows", r.manifest.ID, r.manifest.ID))
		return nil
	}
	const advice = "Leave --apply-config and --apply-users out, and set the nodes up by hand."
	var err error
	if r.wanted, err = verify.ReadSettings(ctx, r.Snapshot); err != nil {
		return hint.Refuse(fmt.Errorf("read the snapshot's settings: %w", err), advice)
	}
	switch {
	case r.wanted == nil:
		return hint.Refuse(errors.New("the snapshot was taken without settings: there is nothing to apply"), advice)
	case r.Apply.Users && len(r.wanted.Users) == 0:
		return hint.Refuse(errors.New("the snapshot's settings have no ACL users"), advice)
	}
	for _, name := range r.Apply.Config {
		if why := neverApplied(name); why != "" {
			return hint.Refuse(fmt.Errorf("parameter %s is never applied: %s", name, why), "Leave it out, and set it on the node by hand.")
		}
		if _, there := r.wanted.Config[name]; !there && name != AllConfig {
			return hint.Refuse(fmt.Errorf("the snapshot's settings have no parameter %q", name), fmt.Sprintf("slotark show %s --settings shows which there are.", r.manifest.ID))
		}
	}
	return nil
}

// parameters are those that are to be applied, with their values.
func (r *run) parameters() map[string]string {
	chosen := map[string]string{}
	for name, value := range r.wanted.Config {
		all := slices.Contains(r.Apply.Config, AllConfig) && !sized[name] && neverApplied(name) == ""
		if all || slices.Contains(r.Apply.Config, name) {
			chosen[name] = string(value)
		}
	}
	return chosen
}

// enable applies settings, configuration first on every node and then users: with
// these applications get in, and so only to what was compared.
func (r *run) enable(ctx context.Context) error {
	if c := r.outcome.Comparison; c == nil || !c.Equal() {
		r.note("not-enabled", "error", "cluster", "no settings were applied, because the comparison did not find everything equal")
		return nil
	}
	e := &enabling{run: r, chosen: r.parameters(), refused: map[string][]string{}, own: map[string]bool{r.Access.User(): true, "default": true}}
	for _, step := range []func(context.Context, *target) error{e.configure, e.admit, e.keep} {
		for _, t := range r.targets {
			if err := step(ctx, t); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				r.note("not-enabled", "error", t.addr(), err.Error())
			}
		}
	}
	e.report()
	return nil
}

// enabling is the step under way.
type enabling struct {
	*run
	chosen   map[string]string
	refused  map[string][]string // why, and which parameters at which nodes
	withheld []string            // users whose passwords the snapshot has not
	own      map[string]bool     // users that stay as they are
	stayed   []string            // of these the ones that the snapshot has otherwise
	fileless []string            // nodes without a configuration file
}

// configure gives a node the parameters that it has otherwise.
func (e *enabling) configure(ctx context.Context, t *target) error {
	for _, name := range slices.Sorted(maps.Keys(e.chosen)) {
		has, known, err := t.parameter(ctx, name)
		switch {
		case err != nil:
			return err
		case !known:
			e.refuse("does not know", t, name)
			continue
		case has == e.chosen[name]:
			continue
		}
		if name == "maxmemory" {
			info, err := t.node.Info(ctx, "memory")
			if err != nil {
				return err
			}
			if most := t.limitOf(e.chosen[name]); most > 0 && most <= info.Int("used_memory") {
				e.refuse("holds more than would be allowed by", t, name)
				continue
			}
		}
		if _, err := t.node.Do(ctx, "CONFIG", "SET", name, e.chosen[name]); errors.As(err, new(cluster.ServerError)) {
			e.refuse("takes only at its start, or not at all,", t, name)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (e *enabling) refuse(why string, t *target, name string) {
	e.refused[why+" "+name] = append(e.refused[why+" "+name], t.addr())
}

// parameter is the value of a parameter; known is false where the node has none of
// the name.
func (t *target) parameter(ctx context.Context, name string) (value string, known bool, err error) {
	reply, err := t.node.Do(ctx, "CONFIG", "GET", name)
	pair, _ := reply.([]any)
	if err != nil || len(pair) != 2 {
		return "", false, err
	}
	return fmt.Sprint(pair[1]), true, nil
}

// limitOf reads a number of bytes as CONFIG GET writes it.
func (t *target) limitOf(text string) (n int64) {
	_, _ = fmt.Sscan(text, &n) // else none
	return n
}

// admit gives a node the ACL users that it has not, or has otherwise.
func (e *enabling) admit(ctx context.Context, t *target) error {
	if !e.Apply.Users {
		return nil
	}
	reply, err := t.node.Do(ctx, "ACL", "LIST")
	if err != nil {
		return err
	}
	has, err := settings.ParseUsers(reply)
	if err != nil {
		return err
	}
	if user, _, err := t.parameter(ctx, "masteruser"); err == nil && user != "" {
		e.own[user] = true // the nodes follow each other as it
	}
	for _, user := range e.wanted.Users {
		at := slices.IndexFunc(has, func(of manifest.User) bool { return of.Name == user.Name })
		same := at >= 0 && rights(has[at]) == rights(user) && slices.Equal(has[at].Passwords, user.Passwords)
		switch name := string(user.Name); {
		case e.own[name]:
			if !same {
				e.stayed = with(e.stayed, name)
			}
		case user.Withheld > 0:
			e.withheld = with(e.withheld, name)
		case !same:
			if _, err := t.node.Do(ctx, setUser(user)...); err != nil {
				return fmt.Errorf("ACL user %s: %w", name, err)
			}
		}
	}
	return nil
}

// rights are a user's rules, less the flag that "reset" gives (ACLSetUser in acl.c) and
// that a user has not who was made without: it is what holds without it, too.
func rights(u manifest.User) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(string(u.Rules)), func(rule string) bool { return rule == "sanitize-payload" }), " ")
}

// setUser is the command that makes a user, whatever it was before.
func setUser(user manifest.User) []any {
	args := []any{"ACL", "SETUSER", string(user.Name), "reset"}
	selector := "" // in brackets, which is one argument
	for _, word := range strings.Split(string(user.Rules), " ") {
		switch {
		case selector == "" && !strings.HasPrefix(word, "("):
			args = append(args, word)
			continue
		case selector == "":
			selector = word
		default:
			selector += " " + word
		}
		if strings.HasSuffix(word, ")") {
			args, selector = append(args, selector), ""
		}
	}
	for _, sum := range user.Passwords {
		args = append(args, "#"+sum)
	}
	return args
}

// keep writes what was applied into the node's own files, so that it outlives a restart.
func (e *enabling) keep(ctx context.Context, t *target) error {
	info, err := t.node.Info(ctx, "server")
	if err != nil {
		return err
	}
	if file, _, err := t.parameter(ctx, "aclfile"); err == nil && file != "" && e.Apply.Users {
		if _, err := t.node.Do(ctx, "ACL", "SAVE"); err != nil {
			return err
		}
	}
	if info.Text("config_file") == "" {
		e.fileless = append(e.fileless, t.addr())
		return nil
	}
	_, err = t.node.Do(ctx, "CONFIG", "REWRITE")
	return err
}

// report makes findings of what could not be applied.
func (e *enabling) report() {
	for _, why := range slices.Sorted(maps.Keys(e.refused)) {
		e.note("not-applied", "warning", few(e.refused[why]), why)
	}
	if len(e.withheld) > 0 {
		e.note("users-withheld", "warning", "settings", fmt.Sprintf("ACL %s %s not applied: the snapshot was taken without passwords", plural(len(e.withheld), "user", "users"),
			human.List(e.withheld)+" "+plural(len(e.withheld), "was", "were")))
	}
	if len(e.stayed) > 0 {
		e.outcome.Notes = append(e.outcome.Notes, "ACL "+plural(len(e.stayed), "user ", "users ")+human.List(e.stayed)+" stayed as the nodes have it: through it the nodes are reached")
	}
	if len(e.fileless) > 0 {
		e.outcome.Notes = append(e.outcome.Notes, few(e.fileless)+" "+plural(len(e.fileless), "has", "have")+" no configuration file: what was applied is gone with a restart")
	}
}

// with adds a name once.
func with(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

func (r *run) saysEnable() string {
	var parts []string
	if len(r.Apply.Config) > 0 {
		names := slices.Sorted(maps.Keys(r.parameters()))
		if len(names) > 2*maxNamed {
			names = append(names[:2*maxNamed], fmt.Sprintf("%d more", len(names)-2*maxNamed))
		}
		parts = append(parts, "CONFIG SET of "+human.List(names))
	}
	if r.Apply.Users {
		var names []string
		for _, user := range r.wanted.Users {
			names = append(names, string(user.Name))
		}
		parts = append(parts, "ACL users "+human.List(names))
	}
	return strings.Join(parts, "; ") + ", where the comparison finds everything equal"
}
