package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slotark/slotark/internal/slot"
)

// SettingsVersion is the version in which settings are written.
const SettingsVersion = 1

// MaxSettingsBytes bounds what DecodeSettings reads: 1,500 nodes that differ in
// a hundred parameters each, or 50,000 users, need less.
const MaxSettingsBytes = 32 << 20

// Parts of the settings, as [Absent] names them.
const (
	PartServer    = "server"
	PartConfig    = "config"
	PartUsers     = "users"
	PartFunctions = "functions"
	PartModules   = "modules"
)

// Settings are what a cluster is set up with beside its keys: what is needed to
// rebuild it and is in no dump. They hold secrets where Secrets says so, so that
// a Settings is not to be printed or logged: [Settings.Public] is.
type Settings struct {
	Version  int             `json:"format_version"`
	Cluster  string          `json:"cluster"`
	Read     time.Time       `json:"read"`               // by the clock of the machine that took the snapshot
	Secrets  bool            `json:"secrets"`            // with passwords and their hashes; false: they are left out
	Config   map[string]Text `json:"config,omitempty"`   // what most of the nodes have, less what is local to a node
	Withheld []string        `json:"withheld,omitempty"` // parameters that are secrets, are set, and are left out
	Users    []User          `json:"users,omitempty"`    // what most of the nodes have
	Shards   []ShardSettings `json:"shards,omitempty"`   // by first slot
	Nodes    []NodeSettings  `json:"nodes"`              // in the order of the manifest's topology
	Absent   []Absent        `json:"absent,omitempty"`
}

// NodeSettings are one node's, where they are not the cluster's.
type NodeSettings struct {
	Node    string          `json:"node"` // node id
	Address string          `json:"address"`
	Role    string          `json:"role"`
	Server  *Build          `json:"server,omitempty"`
	Config  map[string]Text `json:"config,omitempty"` // parameters with another value than the cluster's, or that are not there
	Lacks   []string        `json:"lacks,omitempty"`  // parameters of the cluster's that this node does not know
	Users   []User          `json:"users,omitempty"`  // all of them, where they are not the cluster's
	Modules []Module        `json:"modules,omitempty"`
}

// Build is the software of a node, as INFO server tells it.
type Build struct {
	Engine   string `json:"engine"` // "redis" or "valkey"
	Version  string `json:"version"`
	GitSHA1  string `json:"git_sha1,omitempty"`
	GitDirty string `json:"git_dirty,omitempty"`
	BuildID  string `json:"build_id,omitempty"`
	OS       string `json:"os,omitempty"`
	ArchBits string `json:"arch_bits,omitempty"`
	GCC      string `json:"gcc_version,omitempty"`
}

// User is an ACL user.
type User struct {
	Name      Text     `json:"name"`
	Rules     Text     `json:"rules"`               // as ACL LIST gives them, less the passwords: "on ~* &* +@all"
	Passwords []string `json:"passwords,omitempty"` // SHA-256 of each, hex
	Withheld  int      `json:"withheld,omitempty"`  // how many passwords there are that are left out
}

// Module is a loaded module.
type Module struct {
	Name      string `json:"name"`
	Version   int64  `json:"version"`
	Arguments []Text `json:"arguments,omitempty"` // they may hold passwords: only where secrets are stored
}

// ShardSettings are the function libraries of one shard's primary.
type ShardSettings struct {
	Slots     slot.Set  `json:"slots"`
	Primary   string    `json:"primary"`          // node id
	Functions string    `json:"functions_sha256"` // see FunctionsSum
	Libraries []Library `json:"libraries,omitempty"`
}

// Library is one library of functions. Its code is in the shard's dump.
type Library struct {
	Name      Text   `json:"name"`
	Engine    string `json:"engine"` // "LUA"
	SHA256    string `json:"sha256"` // of its code, hex
	Functions []Text `json:"functions,omitempty"`
}

// Absent is a part that could not be read from some nodes, and why.
type Absent struct {
	Part   string   `json:"part"`
	Nodes  []string `json:"nodes"` // node ids
	Reason string   `json:"reason"`
}

// Text is text of a server, which may be any bytes: in JSON a string where it is
// UTF-8, and else {"base64": "…"}.
type Text string

type rawText struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return plainJSON(string(t))
	}
	return plainJSON(rawText{[]byte(t)})
}

// plainJSON is JSON without the escapes that are for web pages.
func plainJSON(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		*t = Text(text)
		return nil
	}
	var raw rawText
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&raw); err != nil {
		return err
	}
	if utf8.Valid(raw.Base64) {
		return errors.New("text is base64, and need not be")
	}
	*t = Text(raw.Base64)
	return nil
}

// FunctionsSum is the SHA-256 over a line "name engine sha256" for each library,
// sorted by name: equal sums are equal libraries.
func FunctionsSum(libraries []Library) string {
	sum := sha256.New()
	for _, l := range libraries {
		fmt.Fprintf(sum, "%s %s %s\n", l.Name, l.Engine, l.SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// IsSecret tells whether a configuration parameter is a password. Modules add
// parameters of their own, so it goes by how names end.
func IsSecret(parameter string) bool {
	name := strings.ToLower(parameter)
	for _, end := range []string{"requirepass", "auth", "password", "-pass", "secret"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// EncodeSettings returns settings as indented JSON that ends in a newline. It
// refuses what is not coherent.
func EncodeSettings(s *Settings) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	if text.Len() > MaxSettingsBytes {
		return nil, fmt.Errorf("encode settings: larger than %d bytes", MaxSettingsBytes)
	}
	return text.Bytes(), nil
}

// DecodeSettings reads settings and validates them, as strictly as Decode reads
// a manifest.
func DecodeSettings(r io.Reader) (*Settings, error) {
	var s Settings
	if _, err := decodeStrictly(r, "settings", MaxSettingsBytes, SettingsVersion, &s); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	return &s, nil
}

// Public is a copy without secrets, which says in their place that there are
// some.
func (s *Settings) Public() *Settings {
	public := *s
	if !s.Secrets {
		return &public
	}
	public.Secrets = false
	withheld := map[string]bool{}
	public.Config = withoutSecrets(s.Config, withheld)
	public.Users = publicUsers(s.Users)
	public.Nodes = slices.Clone(s.Nodes)
	for i := range public.Nodes {
		n := &public.Nodes[i]
		n.Config = withoutSecrets(n.Config, withheld)
		n.Lacks = slices.DeleteFunc(slices.Clone(n.Lacks), func(name string) bool { return withheld[name] })
		n.Users = publicUsers(n.Users)
		n.Modules = slices.Clone(n.Modules)
		for j := range n.Modules {
			n.Modules[j].Arguments = nil
		}
	}
	public.Withheld = slices.Sorted(maps.Keys(withheld))
	return &public
}

// withoutSecrets leaves the secrets out that are set, and names them.
func withoutSecrets(config map[string]Text, withheld map[string]bool) map[string]Text {
	left := maps.Clone(config)
	for name, value := range config {
		if IsSecret(name) && value != "" {
			withheld[name] = true
			delete(left, name)
		}
	}
	return left
}

func publicUsers(users []User) []User {
	public := slices.Clone(users)
	for i := range public {
		public[i].Withheld += len(public[i].Passwords)
		public[i].Passwords = nil
	}
	return public
}

// LogValue keeps secrets out of logs.
func (s *Settings) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("settings of %s, %d nodes", s.Cluster, len(s.Nodes)))
}
