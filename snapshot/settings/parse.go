package settings

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/snapshot/manifest"
)

// parseConfig reads CONFIG GET: a flat list of names and values.
func parseConfig(reply any) (map[string]manifest.Text, error) {
	list, ok := reply.([]any)
	if !ok || len(list)%2 != 0 {
		return nil, fmt.Errorf("the answer to CONFIG GET is no list of names and values")
	}
	config := map[string]manifest.Text{}
	for i := 0; i < len(list); i += 2 {
		name, isName := list[i].(string)
		value, isValue := list[i+1].(string)
		if !isName || !isValue || name == "" {
			return nil, fmt.Errorf("the answer to CONFIG GET is no list of names and values")
		}
		config[name] = manifest.Text(value)
	}
	return config, nil
}

// ParseUsers reads ACL LIST: "user NAME RULE…" each. Passwords stand among the
// rules, as '#' and the SHA-256 of each.
func ParseUsers(reply any) ([]manifest.User, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("the answer to ACL LIST is no list of users")
	}
	users := make([]manifest.User, 0, len(list))
	for _, item := range list {
		line, _ := item.(string)
		words := strings.Split(line, " ")
		if len(words) < 2 || words[0] != "user" {
			// The line may hold a password: it is not repeated.
			return nil, fmt.Errorf("the answer to ACL LIST has a line that begins with no user")
		}
		user := manifest.User{Name: manifest.Text(words[1])}
		var rules []string
		for _, word := range words[2:] {
			if sum, is := strings.CutPrefix(word, "#"); is {
				user.Passwords = append(user.Passwords, sum)
				continue
			}
			rules = append(rules, word)
		}
		user.Rules = manifest.Text(strings.Join(inOrder(rules), " "))
		slices.Sort(user.Passwords)
		users = append(users, user)
	}
	slices.SortFunc(users, func(a, b manifest.User) int { return cmp.Compare(a.Name, b.Name) })
	return users, nil
}

// inOrder sorts what is given in a row, and what is taken in a row: a server
// lists them in the order of a hash table with a seed of its own (7.0), so that
// the same rights read another way on each node, and in a row they mean the
// same in any order. A selector's last rule carries its closing bracket.
func inOrder(rules []string) []string {
	var ordered, row []string
	end := func(bracket string) {
		slices.Sort(row)
		if len(row) > 0 {
			row[len(row)-1] += bracket
		}
		ordered, row = append(ordered, row...), nil
	}
	for _, rule := range rules {
		plain, closes := strings.CutSuffix(rule, ")")
		change := strings.HasPrefix(rule, "+") || strings.HasPrefix(rule, "-")
		if len(row) > 0 && (!change || row[0][0] != rule[0]) {
			end("")
		}
		switch {
		case !change:
			ordered = append(ordered, rule)
		case closes:
			row = append(row, plain)
			end(")")
		default:
			row = append(row, rule)
		}
	}
	end("")
	return ordered
}

// parseModules reads MODULE LIST: a flat list of names and values for each.
func parseModules(reply any) ([]manifest.Module, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("the answer to MODULE LIST is no list")
	}
	var modules []manifest.Module
	for _, item := range list {
		fields := pairs(item)
		name, _ := fields["name"].(string)
		version, _ := fields["ver"].(int64)
		if name == "" {
			return nil, fmt.Errorf("the answer to MODULE LIST has a module without a name")
		}
		module := manifest.Module{Name: name, Version: version}
		arguments, _ := fields["args"].([]any)
		for _, a := range arguments {
			module.Arguments = append(module.Arguments, manifest.Text(fmt.Sprint(a)))
		}
		modules = append(modules, module)
	}
	slices.SortFunc(modules, func(a, b manifest.Module) int { return cmp.Compare(a.Name, b.Name) })
	return modules, nil
}

// parseLibraries reads FUNCTION LIST WITHCODE.
func parseLibraries(reply any) ([]manifest.Library, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("the answer to FUNCTION LIST is no list")
	}
	var libraries []manifest.Library
	for _, item := range list {
		fields := pairs(item)
		name, isName := fields["library_name"].(string)
		engine, _ := fields["engine"].(string)
		code, isCode := fields["library_code"].(string)
		if !isName || !isCode || name == "" {
			return nil, fmt.Errorf("the answer to FUNCTION LIST has a library without a name or code")
		}
		sum := sha256.Sum256([]byte(code))
		library := manifest.Library{Name: manifest.Text(name), Engine: engine, SHA256: hex.EncodeToString(sum[:])}
		functions, _ := fields["functions"].([]any)
		for _, f := range functions {
			if name, ok := pairs(f)["name"].(string); ok {
				library.Functions = append(library.Functions, manifest.Text(name))
			}
		}
		slices.Sort(library.Functions)
		libraries = append(libraries, library)
	}
	slices.SortFunc(libraries, func(a, b manifest.Library) int { return cmp.Compare(a.Name, b.Name) })
	return libraries, nil
}

// pairs reads a flat list of names and values.
func pairs(item any) map[string]any {
	list, _ := item.([]any)
	named := map[string]any{}
	for i := 0; i+1 < len(list); i += 2 {
		if name, ok := list[i].(string); ok {
			named[name] = list[i+1]
		}
	}
	return named
}

// buildOf is what INFO server tells of the software.
func buildOf(info cluster.Info) *manifest.Build {
	engine, version := info.Engine()
	return &manifest.Build{
		Engine: engine, Version: version, GitSHA1: info.Text("redis_git_sha1"), GitDirty: info.Text("redis_git_dirty"),
		BuildID: info.Text("redis_build_id"), OS: info.Text("os"), ArchBits: info.Text("arch_bits"), GCC: info.Text("gcc_version"),
	}
}
