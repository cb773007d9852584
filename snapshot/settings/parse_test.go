package settings

import (
	"slices"
	"strings"
	"testing"

	"github.com/slotark/slotark/snapshot/manifest"
)

// Nodes of one cluster list the same rights in other orders: a row of them means
// the same in any, and over its end nothing may move.
func TestInOrder(t *testing.T) {
	for rules, want := range map[string]string{
		"":                                      "",
		"on ~* &* +@all":                        "on ~* &* +@all",
		"on resetchannels -@all +time +sync +a": "on resetchannels -@all +a +sync +time",
		"on +@all -set -get +get":               "on +@all -get -set +get",
		"on -@all +b +a (~x* -@all +d +c) (+f)": "on -@all +a +b (~x* -@all +c +d) (+f)",
		"on +b +a %R~x +d +c":                   "on +a +b %R~x +c +d",
		"on -@all +b (+d +c)":                   "on -@all +b (+d +c)",
	} {
		if got := strings.Join(inOrder(strings.Fields(rules)), " "); got != want {
			t.Errorf("%q becomes %q, want %q", rules, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const secret = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
	parse := map[string]func(any) error{
		"config":    func(r any) error { _, err := parseConfig(r); return err },
		"users":     func(r any) error { _, err := ParseUsers(r); return err },
		"modules":   func(r any) error { _, err := parseModules(r); return err },
		"libraries": func(r any) error { _, err := parseLibraries(r); return err },
	}
	for part, replies := range map[string][]any{
		"config":    {nil, "OK", []any{"maxmemory"}, []any{"requirepass", int64(5)}, []any{"", secret}},
		"users":     {nil, int64(1), []any{int64(1)}, []any{"user"}, []any{"account default on #" + secret}},
		"modules":   {nil, "OK", []any{"search"}, []any{[]any{"ver", int64(1)}}},
		"libraries": {nil, []any{[]any{"engine", "LUA"}}, []any{[]any{"library_name", "x"}}, []any{[]any{"library_name", "", "library_code", "x"}}},
	} {
		for _, reply := range replies {
			if err := parse[part](reply); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s of %v: %v", part, reply, err)
			}
		}
	}
}

func TestParseUsers(t *testing.T) {
	users, err := ParseUsers([]any{"user b off resetchannels -@all", "user a on #22 #11 ~\xff* +@all"})
	if err != nil || len(users) != 2 || users[0].Name != "a" || users[0].Rules != "on ~\xff* +@all" || !slices.Equal(users[0].Passwords, []string{"11", "22"}) || users[1].Passwords != nil {
		t.Errorf("got %+v, %v", users, err)
	}
}

func TestKeep(t *testing.T) {
	config := map[string]manifest.Text{
		"maxmemory": "5", "requirepass": "x", "masterauth": "", "dir": "/srv", "cluster-announce-ip": "10.0.0.1", "tls-key-file": "k", "tls-auth-clients": "yes",
		"slave-priority": "100", "replica-priority": "100", "hash-max-ziplist-entries": "1", "hash-max-listpack-entries": "1", "slave-lazy-flush": "no", "replica-announced": "yes", "slave-announce-port": "1",
	}
	withheld := map[string]bool{}
	kept := keep(config, false, withheld)
	want := []string{"hash-max-listpack-entries", "masterauth", "maxmemory", "replica-announced", "replica-priority", "slave-lazy-flush", "tls-auth-clients"}
	var names []string
	for name := range kept {
		names = append(names, name)
	}
	if slices.Sort(names); !slices.Equal(names, want) || len(withheld) != 1 || !withheld["requirepass"] {
		t.Errorf("kept %q, want %q; left out %v", names, want, withheld)
	}
	if kept := keep(config, true, withheld); kept["requirepass"] != "x" {
		t.Error("the password is not kept where it should be")
	}
}
