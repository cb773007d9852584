package part

import (
	"testing"

	"github.com/slotark/slotark/internal/redisproc"
)

// TestMatches holds patterns against a server's own KEYS, each with each key.
func TestMatches(t *testing.T) {
	server, err := redisproc.Start(t.Context(), redisproc.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Kill() })
	node := server.Access().Open(server.Addr())
	defer node.Close()
	keys := []string{"a", "b", "ab", "abc", "aXc", "user:1", "user:12", "user:1:x", "a*b", "a?b", "a[b]", "a\\b", "-", "]", "^", "a-c", "", "aab", "aabab", "\x00\xff", "[", "x]"}
	patterns := []string{"*", "a*", "*b", "a*b", "a?c", "?", "??", "user:*", "user:?", "user:[0-9]", "user:[0-9]*", "[ab]", "[^ab]", "[a-c]", "[c-a]", "[^a-c]*", `a\*b`, `a\?b`, `a\[b]`, `a\\b`,
		"", "**", "*a*b*", "a**b", "[]", "[^]", "[a", "[", "[-]", "[a-]", `[\]]`, `[\a-c]`, `\`, `a\`, "x]", "*[b]", "?*?", "[^", "[a-", "user:1*[x]", "*ab"}
	for _, key := range keys {
		if _, err := node.Do(t.Context(), "SET", key, "v"); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range patterns {
		reply, err := node.Do(t.Context(), "KEYS", pattern)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, key := range reply.([]any) {
			found[key.(string)] = true
		}
		for _, key := range keys {
			// The server takes "*" alone for all keys, and else finds nothing in "".
			if pattern == "**" && key == "" {
				continue
			}
			if got := matches([]byte(pattern), []byte(key)); got != found[key] {
				t.Errorf("%q matches %q: %t, the server says %t", pattern, key, got, found[key])
			}
		}
	}
}
