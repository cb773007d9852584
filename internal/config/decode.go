package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder walks a YAML document beside the Go value it is for. It goes on after
// a problem, so that a person corrects a file once.
type decoder struct {
	file     string
	problems []Problem
	lines    map[string]int // path → line, of everything that was read
}

func (d *decoder) report(line int, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, line, path, fmt.Sprintf(format, args...)})
}

// lineOf is the line of a path, or of the nearest thing above it that is in
// the file.
func (d *decoder) lineOf(path string) int {
	for path != "" {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 1
}

// alreadyTold tells whether one of the first problems is about this path or
// something around it.
func (d *decoder) alreadyTold(path string, first int) bool {
	return slices.ContainsFunc(d.problems[:first], func(p Problem) bool {
		rest, below := strings.CutPrefix(path, p.Path)
		return p.Path == "" || below && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// syntaxLine finds the line in what the YAML parser says: "yaml: line 3: …".
var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// document reads a file that holds one document into what a pointer points to.
func (d *decoder) document(text []byte, into any) {
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	err := documents.Decode(&root)
	if errors.Is(err, io.EOF) {
		return // an empty file says nothing, and that is valid
	}
	if err != nil {
		line, message := 1, err.Error()
		if match := syntaxLine.FindStringSubmatch(message); match != nil {
			message = match[2]
			if n, err := strconv.Atoi(match[1]); err == nil {
				line = n
			}
		}
		d.report(line, "", "not YAML: %s", message)
		return
	}
	d.value(root.Content[0], "", reflect.ValueOf(into).Elem())
	var second yaml.Node
	if err := documents.Decode(&second); !errors.Is(err, io.EOF) {
		d.report(max(1, second.Line), "", "the file holds a second document: there is one configuration a file")
	}
}

// value reads one node into one Go value.
func (d *decoder) value(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if _, known := d.lines[path]; !known && path != "" {
		d.lines[path] = node.Line
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		d.nothing(node, path, into)
		return
	}
	switch into.Interface().(type) {
	case time.Duration, Size, Span:
		d.scalar(node, path, into)
		return
	}
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if node.Kind != yaml.ScalarNode {
			d.report(node.Line, path, "want a single value")
		} else if err := text.UnmarshalText([]byte(node.Value)); err != nil {
			d.report(node.Line, path, "%v", err)
		}
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(node, path, into.Elem())
	case reflect.Struct:
		d.fields(node, path, into)
	case reflect.Map:
		into.Set(reflect.MakeMap(into.Type()))
		d.pairs(node, path, func(key, value *yaml.Node) {
			element := reflect.New(into.Type().Elem()).Elem()
			d.value(value, path+"["+key.Value+"]", element)
			into.SetMapIndex(reflect.ValueOf(key.Value), element)
		})
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			d.report(node.Line, path, "want a list, each entry on a line of its own that begins with a dash")
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
		for i, element := range node.Content {
			d.value(element, fmt.Sprintf("%s[%d]", path, i), into.Index(i))
		}
	default:
		d.scalar(node, path, into)
	}
}

// nothing is a key without a value. A section whose lines are all commented
// out is no mistake; a setting without a value is one.
func (d *decoder) nothing(node *yaml.Node, path string, into reflect.Value) {
	switch into.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice:
	case reflect.Pointer:
		d.report(node.Line, path, "has no value: write {} to have it with its defaults, or remove the key")
	default:
		d.report(node.Line, path, "has no value: give it one, or remove the key")
	}
}

// fields reads a mapping into a struct.
func (d *decoder) fields(node *yaml.Node, path string, into reflect.Value) {
	known := map[string]reflect.Value{}
	for i := range into.NumField() {
		known[into.Type().Field(i).Tag.Get("yaml")] = into.Field(i)
	}
	d.pairs(node, path, func(key, value *yaml.Node) {
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		field, ok := known[key.Value]
		switch {
		case ok:
			d.lines[at] = key.Line
			d.value(value, at, field)
		case key.Value == "password": // its value is never repeated
			d.report(key.Line, at, "a password does not belong in this file: name a file that holds it in password_file, or an environment variable in password_env")
		default:
			d.report(key.Line, at, "unknown key; known here: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	})
}

// pairs goes through the keys and values of a mapping.
func (d *decoder) pairs(node *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		d.report(node.Line, path, "want keys with values, as in \"key: value\"")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode {
			d.report(key.Line, path, "want a plain word for a key")
			continue
		}
		if first, twice := seen[key.Value]; twice {
			d.report(key.Line, strings.TrimPrefix(path+"."+key.Value, "."), "is there twice, first on line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		each(key, node.Content[i+1])
	}
}

// scalar reads one word, number or phrase.
func (d *decoder) scalar(node *yaml.Node, path string, into reflect.Value) {
	if node.Kind != yaml.ScalarNode {
		d.report(node.Line, path, "want a single value")
		return
	}
	switch into.Interface().(type) {
	case time.Duration:
		duration, err := time.ParseDuration(node.Value)
		if err != nil {
			d.report(node.Line, path, "%q is not a duration: want a number with a unit, such as 30s, 5m or 2h", node.Value)
		}
		into.SetInt(int64(duration))
		return
	case Size:
		size, err := ParseSize(node.Value)
		if err != nil {
			d.report(node.Line, path, "%v", err)
		}
		into.SetInt(int64(size))
		return
	case Span:
		span, err := ParseSpan(node.Value)
		if err != nil {
			d.report(node.Line, path, "%v", err)
		}
		into.SetInt(int64(span))
		return
	}
	switch into.Kind() {
	case reflect.Int:
		number, err := strconv.Atoi(node.Value)
		if err != nil {
			d.report(node.Line, path, "%q is not a whole number", node.Value)
		}
		into.SetInt(int64(number))
	case reflect.Bool:
		if node.Value != "true" && node.Value != "false" {
			d.report(node.Line, path, "%q is neither true nor false", node.Value)
		}
		into.SetBool(node.Value == "true")
	default: // a string, also where YAML sees a number: an image "7.0" is text
		into.SetString(node.Value)
	}
}
