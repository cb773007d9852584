package manifest_test

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/slot"
	"github.com/slotark/slotark/snapshot/manifest"
)

// sampleSettings are settings with every field, of the sample's cluster.
func sampleSettings() *manifest.Settings {
	m := sample()
	sum, other := strings.Repeat("7a", 32), strings.Repeat("8b", 32)
	nodes := m.Topology.Nodes
	build := &manifest.Build{Engine: "redis", Version: "7.0.15", GitSHA1: "00000000", GitDirty: "0", BuildID: "ae4d7c971a948f0", OS: "Linux 6.1.0 x86_64", ArchBits: "64", GCC: "12.2.0"}
	users := []manifest.User{
		{Name: "app", Rules: "on ~app:* &* -@all +@read", Passwords: []string{sum, other}},
		{Name: "default", Rules: "on nopass ~\xff* &* +@all"},
	}
	libraries := []manifest.Library{{Name: "lib", Engine: "LUA", SHA256: sum, Functions: []manifest.Text{"f", "g"}}}
	return &manifest.Settings{
		Version: manifest.SettingsVersion, Cluster: "prod", Read: instant, Secrets: true,
		Config: map[string]manifest.Text{"maxmemory": "104857600", "requirepass": "correct horse", "masterauth": "", "save": "900 1 300 10"},
		Users:  users,
		Shards: []manifest.ShardSettings{
			{Slots: m.Shards[0].Slots, Primary: nodes[0].ID, Functions: manifest.FunctionsSum(libraries), Libraries: libraries},
			{Slots: m.Shards[1].Slots, Primary: nodes[2].ID, Functions: manifest.FunctionsSum(nil)},
		},
		Nodes: []manifest.NodeSettings{
			{Node: nodes[0].ID, Address: nodes[0].Address, Role: "primary", Server: build, Modules: []manifest.Module{{Name: "search", Version: 20804, Arguments: []manifest.Text{"PASSWORD", "battery"}}}},
			{Node: nodes[1].ID, Address: nodes[1].Address, Role: "replica", Server: build, Config: map[string]manifest.Text{"maxmemory": "0", "search-password": "staple"}, Lacks: []string{"requirepass", "save"}, Users: users[:1]},
			{Node: nodes[2].ID, Address: nodes[2].Address, Role: "primary"},
		},
		Absent: []manifest.Absent{{Part: manifest.PartConfig, Nodes: []string{nodes[2].ID}, Reason: "CONFIG GET is not allowed to user slim: +config|get"}},
	}
}

// The golden files are kept for ever: that with secrets, and that without.
func TestGoldenSettings(t *testing.T) {
	for name, want := range map[string]*manifest.Settings{"settings-v1.json": sampleSettings(), "settings-v1-public.json": sampleSettings().Public()} {
		path := filepath.Join("testdata", name)
		encoded, err := manifest.EncodeSettings(want)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, encoded, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), string(encoded)); diff != "" {
			t.Errorf("%s is written another way than it was (- before, + now):\n%s", name, diff)
		}
		decoded, err := manifest.DecodeSettings(bytes.NewReader(golden))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, decoded, cmp.AllowUnexported(slot.Set{})); diff != "" {
			t.Errorf("%s reads otherwise (- sample, + read):\n%s", name, diff)
		}
	}
}

// The two samples have every field, or the golden test proves nothing of it,
// and FORMAT.md names each.
func TestSettingsHaveEveryField(t *testing.T) {
	private, err := manifest.EncodeSettings(sampleSettings())
	if err != nil {
		t.Fatal(err)
	}
	public, err := manifest.EncodeSettings(sampleSettings().Public())
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(document), "## settings.json")
	for _, field := range fieldsOf(reflect.TypeFor[manifest.Settings]()) {
		if !bytes.Contains(append(private, public...), []byte(`"`+field+`": `)) {
			t.Errorf("the samples have no %q", field)
		}
		if !strings.Contains(section, "`"+field+"`") && !strings.Contains(section, "."+field+"`") {
			t.Errorf("FORMAT.md does not tell of %q", field)
		}
	}
}

func fieldsOf(typ reflect.Type) []string {
	for slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Slice, reflect.Map}, typ.Kind()) {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[manifest.Settings]().PkgPath() {
		return nil
	}
	var names []string
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		names = append(append(names, name), fieldsOf(typ.Field(i).Type)...)
	}
	return names
}

// secretsIn names what of the sample's secrets is in a text.
func secretsIn(text string) (found []string) {
	for _, secret := range []string{"correct horse", "battery", "staple", strings.Repeat("7a", 32) + `"]`, strings.Repeat("8b", 32)} {
		if strings.Contains(strings.Join(strings.Fields(text), ""), strings.ReplaceAll(secret, " ", "")) {
			found = append(found, secret)
		}
	}
	return found
}

func TestPublicSettings(t *testing.T) {
	s := sampleSettings()
	public := s.Public()
	text, err := manifest.EncodeSettings(public)
	if err != nil {
		t.Fatal(err)
	}
	if found := secretsIn(string(text)); found != nil {
		t.Errorf("secrets %q are in\n%s", found, text)
	}
	if !slices.Equal(public.Withheld, []string{"requirepass", "search-password"}) || public.Users[0].Withheld != 2 || public.Users[1].Withheld != 0 {
		t.Errorf("left out are %q and %+v", public.Withheld, public.Users)
	}
	if diff := cmp.Diff(sampleSettings(), s, cmp.AllowUnexported(slot.Set{})); diff != "" {
		t.Errorf("the settings themselves were changed:\n%s", diff)
	}
	if again := public.Public(); !reflect.DeepEqual(again, public) {
		t.Errorf("what has no secrets becomes something else: %+v", again)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("read", "settings", s)
	if found := secretsIn(logged.String()); found != nil || !strings.Contains(logged.String(), "settings of prod, 3 nodes") {
		t.Errorf("the log says %s", &logged)
	}
}

func TestIsSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"requirepass": true, "masterauth": true, "primaryauth": true, "tls-key-file-pass": true, "tls-client-key-file-pass": true, "search-oss-global-password": true,
		"tls-auth-clients": false, "masteruser": false, "maxmemory": false, "latency-tracking-info-percentiles": false, "RequirePass": true,
	} {
		if manifest.IsSecret(name) != want {
			t.Errorf("%s: %v, want %v", name, !want, want)
		}
	}
}

func TestSettingsRefused(t *testing.T) {
	cases := map[string]struct {
		change func(*manifest.Settings)
		want   string
	}{
		"another version":    {func(s *manifest.Settings) { s.Version = 2 }, "format version is 2"},
		"no time":            {func(s *manifest.Settings) { s.Read = manifest.Settings{}.Read }, "when they were read"},
		"a bad cluster name": {func(s *manifest.Settings) { s.Cluster = "../x" }, "cluster name"},
		"a secret in public": {func(s *manifest.Settings) {
			s.Secrets = false
			s.Users, s.Nodes[0].Modules, s.Nodes[1].Users = nil, nil, nil
		}, "has the secret requirepass, and secrets are not stored"},
		"a hash in public":        {func(s *manifest.Settings) { *s = *s.Public(); s.Users[0].Passwords = []string{strings.Repeat("a", 64)} }, "has 1 passwords"},
		"an argument in public":   {func(s *manifest.Settings) { *s = *s.Public(); s.Nodes[0].Modules[0].Arguments = []manifest.Text{"x"} }, "arguments where secrets are not stored"},
		"stored and left out":     {func(s *manifest.Settings) { s.Withheld = []string{"requirepass"} }, "secrets are stored, and requirepass left out"},
		"left out, no secret":     {func(s *manifest.Settings) { *s = *s.Public(); s.Withheld = []string{"maxmemory"} }, "is none"},
		"a hash among the rules":  {func(s *manifest.Settings) { s.Users[0].Rules += " #12" }, "hold a password"},
		"a hash that is none":     {func(s *manifest.Settings) { s.Users[0].Passwords[0] = "xyz" }, "is no SHA-256"},
		"a user twice":            {func(s *manifest.Settings) { s.Users[1].Name = "app" }, "twice"},
		"a node twice":            {func(s *manifest.Settings) { s.Nodes[1].Node = s.Nodes[0].Node }, "there twice"},
		"a role that is none":     {func(s *manifest.Settings) { s.Nodes[1].Role = "witness" }, `the role "witness"`},
		"no difference":           {func(s *manifest.Settings) { s.Nodes[1].Config["maxmemory"] = "104857600" }, "is the same"},
		"lacks what nobody has":   {func(s *manifest.Settings) { s.Nodes[1].Lacks = []string{"hz"} }, "lacks hz"},
		"a parameter, no name":    {func(s *manifest.Settings) { s.Config[""] = "x" }, "without a name"},
		"another engine":          {func(s *manifest.Settings) { s.Nodes[0].Server.Engine = "kv" }, `engine is "kv"`},
		"a module without a name": {func(s *manifest.Settings) { s.Nodes[0].Modules[0].Name = "" }, "has no name"},
		"slots twice":             {func(s *manifest.Settings) { s.Shards[1].Slots = s.Shards[0].Slots }, "some of another"},
		"a stranger's shard":      {func(s *manifest.Settings) { s.Shards[1].Primary = "x" }, "is none of the nodes"},
		"another sum":             {func(s *manifest.Settings) { s.Shards[0].Functions = manifest.FunctionsSum(nil) }, "is not that of its libraries"},
		"a library without code":  {func(s *manifest.Settings) { s.Shards[0].Libraries[0].SHA256 = "" }, "no SHA-256"},
		"an unknown part":         {func(s *manifest.Settings) { s.Absent[0].Part = "keys" }, `part "keys" is none`},
		"absent for no reason":    {func(s *manifest.Settings) { s.Absent[0].Reason = "" }, "not said why"},
		"absent of a stranger":    {func(s *manifest.Settings) { s.Absent[0].Nodes = []string{"x"} }, "none of the nodes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := sampleSettings()
			c.change(s)
			text, err := manifest.EncodeSettings(s)
			if err == nil || !strings.Contains(err.Error(), c.want) || text != nil {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if err != nil && secretsIn(err.Error()) != nil {
				t.Errorf("a secret is in %q", err)
			}
		})
	}
}

func TestDecodeSettingsRefuses(t *testing.T) {
	good, err := manifest.EncodeSettings(sampleSettings())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":            {"", "unexpected end of JSON"},
		"a later version":    {`{"format_version": 2, "users": 5}`, "unknown manifest format version 2"},
		"an unknown field":   {strings.Replace(string(good), `"cluster"`, `"colour": 1, "cluster"`, 1), `unknown field "colour"`},
		"two of them":        {string(good) + string(good), "after top-level value"},
		"cut":                {string(good[:len(good)-9]), "unexpected end of JSON"},
		"base64 for nothing": {strings.Replace(string(good), `"lib"`, `{"base64": "bGli"}`, 1), "need not be"},
		"a number for text":  {strings.Replace(string(good), `"lib"`, `5`, 1), "cannot unmarshal"},
		"too large":          {string(good) + strings.Repeat(" ", manifest.MaxSettingsBytes), "larger than"},
	} {
		if s, err := manifest.DecodeSettings(strings.NewReader(c.text)); err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// FuzzDecodeSettings: what is accepted is coherent, is written and read again
// without loss, and without its secrets is coherent too and holds none.
func FuzzDecodeSettings(f *testing.F) {
	for _, s := range []*manifest.Settings{sampleSettings(), sampleSettings().Public()} {
		text, err := manifest.EncodeSettings(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(text[:len(text)-3])
		f.Add(bytes.Replace(text, []byte(`"secrets": true`), []byte(`"secrets": false`), 1))
		f.Add(bytes.Replace(text, []byte(`"lib"`), []byte(`{"base64": "/w=="}`), 1))
	}
	f.Add([]byte(`{"format_version": 1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := manifest.DecodeSettings(bytes.NewReader(text))
		if err != nil {
			if s != nil {
				t.Fatal("there are settings beside the error")
			}
			return
		}
		again, err := manifest.EncodeSettings(s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := manifest.DecodeSettings(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if third, err := manifest.EncodeSettings(back); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("it changes with each round: %v\n%s", err, cmp.Diff(string(again), string(third)))
		}
		public := s.Public()
		if err := public.Validate(); err != nil {
			t.Fatalf("without its secrets it is not coherent: %v", err)
		}
		for _, n := range append([]manifest.NodeSettings{{Config: public.Config, Users: public.Users}}, public.Nodes...) {
			for _, name := range slices.Sorted(maps.Keys(n.Config)) {
				if manifest.IsSecret(name) && n.Config[name] != "" {
					t.Fatalf("%s is in the public settings", name)
				}
			}
		}
	})
}
