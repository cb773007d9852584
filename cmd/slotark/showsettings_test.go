package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/snapshot/manifest"
)

// TestSettings takes snapshots with each kind of settings, shows them, seals
// them again, and damages them: no password is ever printed unless it was asked
// for, or stored where everyone can read it.
func TestSettings(t *testing.T) {
	t.Parallel()
	const guestHash = "84983c60f7daadc1cb8698621f802c0d9f9a3c3c295c810748fb048115c186ec" // SHA-256 of "guest"
	c := clustertest.Start(t, clustertest.Options{Primaries: 3, Password: password, Config: []string{"user guest on >guest ~public:* -@all +get"}})
	fill(t, c, dataset.Options{Keys: 300, Seed: 31})
	recipient, identity := newIdentity(t)
	repo := filepath.Join(t.TempDir(), "repo")
	silent := func(o outcome) outcome {
		t.Helper()
		for _, secret := range []string{password, guestHash} {
			if strings.Contains(o.stdout+o.stderr, secret) {
				t.Errorf("%q is printed:\n%s%s", secret, o.stdout, o.stderr)
			}
		}
		return o
	}
	take := func(name string, args ...string) outcome {
		t.Helper()
		return silent(slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0], "--repo", repo, "--cluster", name}, args...)...).want(t, exitDone))
	}
	show := func(name string, args ...string) outcome {
		t.Helper()
		return slotark(t, "", append([]string{"show", "latest", "--repo", repo, "--cluster", name, "--settings"}, args...)...)
	}
	const withheld = "settings without masterauth, requirepass and the passwords of 2 ACL users"

	// Readable for everyone: rules, and no password.
	if o := take("plain").want(t, exitDone, withheld, "--recipient"); o.stderr != "" {
		t.Errorf("what cannot be otherwise is a warning: %s", o.stderr)
	}
	silent(show("plain")).want(t, exitDone, "left out when the snapshot was taken", "requirepass", "[left out]", "~public:* resetchannels -@all +get", "1 password", "slotark_demo", "all nodes")
	silent(show("plain", "--reveal-secrets")).want(t, exitFailed, "hold no secrets", "--recipient").wantOneLine(t)
	for _, name := range objects(t, repo) {
		text, err := os.ReadFile(filepath.Join(repo, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), password) {
			t.Errorf("the password is in %s", name)
		}
	}

	// Encrypted: all of it, for who has the identity and asks for it.
	if o := take("sealed", "--recipient", recipient); strings.Contains(o.stdout+o.stderr, "settings without") {
		t.Errorf("something is not stored: %s", o.stderr)
	}
	show("sealed").want(t, exitNoIdentity, recipient).wantOneLine(t)
	silent(show("sealed", "--identity", identity)).want(t, exitDone, "stored, not shown: --reveal-secrets", "[hidden]", "1 password")
	show("sealed", "--identity", identity, "--reveal-secrets").want(t, exitDone, "requirepass", password, "#"+guestHash, "shown")
	settings := func(o outcome) *manifest.Settings {
		t.Helper()
		var message struct {
			Type     string `json:"message_type"`
			Settings *manifest.Settings
		}
		if err := json.Unmarshal([]byte(o.want(t, exitDone).stdout), &message); err != nil || message.Type != "settings" {
			t.Fatalf("%v: %s", err, o.stdout)
		}
		return message.Settings
	}
	if s := settings(silent(show("sealed", "--identity", identity, "--json"))); s.Secrets || s.Users[1].Withheld != 1 || s.Validate() != nil {
		t.Errorf("shown are %+v", s)
	}
	revealed := settings(show("sealed", "--identity", identity, "--json", "--reveal-secrets"))
	if revealed.Config["requirepass"] != password || revealed.Users[1].Passwords[0] != guestHash || len(revealed.Nodes) != 3 {
		t.Errorf("revealed are %+v", revealed)
	}

	// Sealed again they are the same.
	second, secondIdentity := newIdentity(t)
	slotark(t, "", "reseal", "latest", "--repo", repo, "--cluster", "sealed", "--identity", identity, "--recipient", second).want(t, exitDone)
	if again := settings(show("sealed", "--identity", secondIdentity, "--json", "--reveal-secrets")); again.Read != revealed.Read || again.Config["requirepass"] != password {
		t.Errorf("sealed again they are %+v", again)
	}
	verify := func(code int, parts ...string) {
		t.Helper()
		slotark(t, "", "verify", "latest", "--repo", repo, "--cluster", "sealed", "--identity", secondIdentity).want(t, code, parts...)
	}
	verify(exitDone, "8 objects")

	// By name: in clear, never, not at all.
	take("full", "--keep-settings", "full")
	show("full", "--reveal-secrets").want(t, exitDone, password)
	if o := take("public", "--keep-settings", "public", "--recipient", recipient); strings.Contains(o.stdout, "settings without") {
		t.Errorf("what was asked for is told: %s", o.stdout)
	}
	silent(show("public", "--identity", identity)).want(t, exitDone, "[left out]")
	if o := take("none", "--keep-settings", "none"); strings.Contains(o.stderr, "warning") {
		t.Errorf("warnings of what was not asked for: %s", o.stderr)
	}
	show("none").want(t, exitFailed, "has no settings", "--keep-settings none").wantOneLine(t)
	slotark(t, "", "verify", "latest", "--repo", repo, "--cluster", "none").want(t, exitDone, "7 objects")
	slotark(t, "", "show", "latest", "--repo", repo, "--reveal-secrets").want(t, exitUsage, "--settings").wantOneLine(t)
	slotark(t, "", "show", "latest", "--repo", repo, "--settings", "--slots").want(t, exitUsage, "one of them").wantOneLine(t)

	// Damage is found, and another cluster's settings too.
	found, err := filepath.Glob(filepath.Join(repo, "sealed", "snapshots", "*", "settings.json.zst.age"))
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	whole, err := os.ReadFile(found[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range damages(whole) {
		rewrite(t, found[1], damage.bytes)
		verify(exitFindings, "settings.json.zst.age")
	}
	silent(show("sealed", "--identity", secondIdentity)).want(t, exitFailed, "damaged")
	rewrite(t, found[1], whole)
	verify(exitDone)
}
