package probe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Probe is one check, as a person writes it. Exactly one of Key, Pattern, Script
// and Function says what is asked.
type Probe struct {
	Name string `yaml:"name"` // "" is made of the check

	// Key is one key's name. Without any of the following it has to exist.
	Key    string   `yaml:"key"`
	Exists *bool    `yaml:"exists"` // false: it must not
	Type   string   `yaml:"type"`   // as TYPE says: "string", "list", "set", "zset", "hash", "stream"
	Field  string   `yaml:"field"`  // of a hash, whose value is meant
	Value  *string  `yaml:"value"`  // of a string, or of a hash's field
	Length Range    `yaml:"length"` // bytes of a string, elements of a list, members, fields or entries
	TTL    Lifetime `yaml:"ttl"`    // how long the key still lives

	// Pattern is of keys' names, as SCAN takes it. Count is of the whole cluster.
	Pattern string `yaml:"pattern"`
	Count   Range  `yaml:"count"`

	// Script is sent by EVAL, Function called by FCALL. Without keys each primary
	// is asked. Result is the answer as `redis-cli --raw` shows it: an array's
	// elements are a line each, and no value is "(nil)".
	Script   string   `yaml:"script"`
	Function string   `yaml:"function"`
	Keys     []string `yaml:"keys"`
	Args     []string `yaml:"args"`
	Result   *string  `yaml:"result"`
}

// File is a file of probes.
type File struct {
	Probes []Probe `yaml:"probes"`
}

// Problem is one thing wrong with a file of probes.
type Problem struct{ Path, Text string } // Path: "probes[1].ttl"

// Problems is everything that is wrong with the probes, in their order.
func (f *File) Problems() (problems []Problem) {
	for i, p := range f.Probes {
		at := fmt.Sprintf("probes[%d]", i)
		for _, found := range p.problems() {
			problems = append(problems, Problem{strings.TrimSuffix(at+"."+found.Path, "."), found.Text})
		}
	}
	if len(f.Probes) == 0 {
		problems = append(problems, Problem{"probes", "there is no probe"})
	}
	return problems
}

// types are those of keys that have a length.
var types = map[string]string{"string": "STRLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN"}

// problems are those of one probe, with the paths below it.
func (p *Probe) problems() (problems []Problem) {
	report := func(path, format string, args ...any) {
		problems = append(problems, Problem{path, fmt.Sprintf(format, args...)})
	}
	subjects := map[string]bool{"key": p.Key != "", "pattern": p.Pattern != "", "script": p.Script != "", "function": p.Function != ""}
	var asked []string
	for _, name := range []string{"key", "pattern", "script", "function"} {
		if subjects[name] {
			asked = append(asked, name)
		}
	}
	if len(asked) != 1 {
		report("", "want exactly one of key, pattern, script and function, got %s", or(strings.Join(asked, " and "), "none"))
		return problems
	}
	// What each check belongs to.
	code := p.Script != "" || p.Function != ""
	for _, check := range []struct {
		path     string
		set, may bool
		want     string
	}{
		{"exists", p.Exists != nil, p.Key != "", "a key"},
		{"type", p.Type != "", p.Key != "", "a key"},
		{"field", p.Field != "", p.Key != "", "a key"},
		{"value", p.Value != nil, p.Key != "", "a key"},
		{"length", p.Length.set, p.Key != "", "a key"},
		{"ttl", p.TTL.set, p.Key != "", "a key"},
		{"count", p.Count.set, p.Pattern != "", "a pattern"},
		{"keys", len(p.Keys) > 0, code, "a script or a function"},
		{"args", len(p.Args) > 0, code, "a script or a function"},
		{"result", p.Result != nil, code, "a script or a function"},
	} {
		if check.set && !check.may {
			report(check.path, "belongs to %s, and this probe has none", check.want)
		}
	}
	if p.Exists != nil && !*p.Exists && (p.Type != "" || p.Field != "" || p.Value != nil || p.Length.set || p.TTL.set) {
		report("exists", "a key that must not be there has nothing else to be checked")
	}
	if p.Field != "" && p.Value == nil {
		report("field", "want the value that it must have")
	}
	if p.Field != "" && p.Type != "" && p.Type != "hash" || p.Field == "" && p.Value != nil && p.Type != "" && p.Type != "string" {
		report("type", "%s has no such value: want value of a string, or field and value of a hash", p.Type)
	}
	if p.Type != "" && types[p.Type] == "" {
		report("type", "%q is not known: want string, list, set, zset, hash or stream", p.Type)
	}
	if p.Pattern != "" && !p.Count.set {
		report("count", "want how many keys: 1000, 1000.. or 1000..2000")
	}
	if code && p.Result == nil {
		report("result", "want the answer, as redis-cli --raw shows it")
	}
	return problems
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Title is the probe's name, or what it checks.
func (p *Probe) Title() string {
	switch {
	case p.Name != "":
		return p.Name
	case p.Key != "":
		return fmt.Sprintf("key %q", p.Key)
	case p.Pattern != "":
		return fmt.Sprintf("keys like %q", p.Pattern)
	case p.Function != "":
		return "function " + p.Function
	}
	return fmt.Sprintf("script %.40q", p.Script)
}

// Range is a number, or from one to another: "3", "1..5", "1000..", "..5".
type Range struct {
	Least, Most int64
	set         bool
}

const unbounded = 1<<63 - 1

// UnmarshalText reads a range.
func (r *Range) UnmarshalText(text []byte) error {
	least, most, err := bounds(string(text), func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	if err != nil {
		return fmt.Errorf("%q is not how many: want 3, 1..5, 1.. or ..5", text)
	}
	*r = Range{least, most, true}
	return nil
}

func (r Range) has(n int64) bool { return n >= r.Least && n <= r.Most }

func (r Range) String() string {
	return span(r.Least, r.Most, func(n int64) string { return strconv.FormatInt(n, 10) })
}

// Lifetime is how long a key may still live: "none" (it does not expire), "1h..24h",
// "10m..", "..30d".
type Lifetime struct {
	None        bool
	Least, Most time.Duration
	set         bool
}

// UnmarshalText reads a lifetime.
func (l *Lifetime) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*l = Lifetime{None: true, set: true}
		return nil
	}
	least, most, err := bounds(string(text), func(s string) (int64, error) {
		d, err := days(s)
		return int64(d), err
	})
	if err != nil || !strings.Contains(string(text), "..") {
		return fmt.Errorf("%q is not how long: want none, 1h..24h, 10m.. or ..30d", text)
	}
	*l = Lifetime{Least: time.Duration(least), Most: time.Duration(most), set: true}
	return nil
}

// days reads a duration that may be one of whole days: "30d".
func days(text string) (time.Duration, error) {
	if number, found := strings.CutSuffix(text, "d"); found {
		n, err := strconv.ParseUint(number, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

func (l Lifetime) String() string {
	if l.None {
		return "none"
	}
	return span(int64(l.Least), int64(l.Most), func(n int64) string { return time.Duration(n).String() })
}

// bounds reads "N", "N..M", "N.." or "..M"; no bound may be negative.
func bounds(text string, read func(string) (int64, error)) (least, most int64, err error) {
	from, to, isRange := strings.Cut(text, "..")
	if !isRange {
		to = from
	}
	if most = unbounded; to != "" {
		if most, err = read(to); err != nil {
			return 0, 0, err
		}
	}
	if from != "" {
		if least, err = read(from); err != nil {
			return 0, 0, err
		}
	}
	if from == "" && to == "" || least < 0 || least > most {
		return 0, 0, strconv.ErrRange
	}
	return least, most, nil
}

func span(least, most int64, write func(int64) string) string {
	switch {
	case least == most:
		return write(least)
	case most == unbounded:
		return "at least " + write(least)
	}
	return write(least) + " to " + write(most)
}

// arguments are words as a command takes them.
func arguments(words ...[]string) []any {
	var args []any
	for _, word := range slices.Concat(words...) {
		args = append(args, word)
	}
	return args
}
