package drill

import (
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Rules of ACL users are tried as they are, and leave nothing. HGETEX came with Redis
// 8.0: the older server refuses a user of the newer one.
func TestRefusedRules(t *testing.T) {
	server := servertest.Unpacked(t)[0] // Redis 7.0
	p, err := redisproc.Start(t.Context(), redisproc.Options{Binary: server.Binary, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	node := (&cluster.Access{}).Open(p.Addr())
	defer node.Close()
	for rules, want := range map[string]string{
		"on nopass ~* &* +@all":                               "",
		"off resetchannels -@all +get":                        "",
		"on ~app:* resetchannels -@all +get (~b* -@all +set)": "",
		"on ~* resetchannels -@all +hgetex":                   "Error in ACL SETUSER modifier '+hgetex': Unknown command or category name in ACL",
		"on ~* resetchannels -@all +@vectors":                 "Error in ACL SETUSER modifier '+@vectors': ",
	} {
		got, err := refusedRules(t.Context(), node, manifest.User{Name: "app", Rules: manifest.Text(rules)})
		if err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, %v; want %q", rules, got, err, want)
		}
	}
	if users, err := node.Do(t.Context(), "ACL", "USERS"); err != nil || len(users.([]any)) != 1 {
		t.Errorf("users left: %v, %v", users, err)
	}
}
