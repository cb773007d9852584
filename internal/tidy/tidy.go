package tidy

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Finding is one thing out of order, and what to do about it.
type Finding struct {
	File string // relative to the module's root, with slashes
	Line int
	Rule string // the name of the rule, for the tests of this package
	Text string
}

// String is the form an editor can jump to.
func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text) }

// file is one Go file, parsed.
type file struct {
	path     string
	pkg      string // its folder, which is the package's path within the module
	isTest   bool   // named _test.go
	inTests  bool   // isTest, or of a package that only tests use
	lines    int
	fset     *token.FileSet
	tree     *ast.File
	imports  map[string]string // local name → import path
	comments map[int]string    // line → text of the comment group on it
	findings []Finding
}

// report adds a finding at a place in the file.
func (f *file) report(pos token.Pos, rule, format string, args ...any) {
	f.findings = append(f.findings, Finding{f.path, f.line(pos), rule, fmt.Sprintf(format, args...)})
}

func (f *file) line(pos token.Pos) int { return f.fset.Position(pos).Line }

// explained tells whether a comment on this line or the one before carries a
// mark such as "impossible:".
func (f *file) explained(pos token.Pos, mark string) bool {
	line := f.line(pos)
	return strings.Contains(f.comments[line], mark) || strings.Contains(f.comments[line-1], mark)
}

// fileRules look at one file each.
var fileRules = []func(*file){
	checkImports,
	checkCalls,
	checkSkips,
	checkPanics,
	checkSizes,
	checkComments,
	checkWords,
}

// Check applies every rule to Go sources, given as path → text. The paths are
// relative to the module's root. The text of docs/dependencies.md is checked
// along with the imports when it is among them.
func Check(sources map[string]string) []Finding {
	var findings []Finding
	packages := map[string][]*file{}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if path.Ext(name) != ".go" {
			continue
		}
		f, err := parse(name, sources[name])
		if err != nil {
			findings = append(findings, Finding{name, 1, "parse", fmt.Sprintf("does not parse: %v", err)})
			continue
		}
		for _, rule := range fileRules {
			rule(f)
		}
		packages[f.pkg] = append(packages[f.pkg], f)
	}
	for _, pkg := range slices.Sorted(maps.Keys(packages)) {
		checkPackage(pkg, packages[pkg])
		for _, f := range packages[pkg] {
			if text, ok := sources[dependenciesDoc]; ok {
				checkDependencies(f, text)
			}
			findings = append(findings, f.findings...)
		}
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return findings
}

func parse(name, text string) (*file, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{
		path:     name,
		pkg:      path.Dir(name),
		isTest:   strings.HasSuffix(name, "_test.go"),
		lines:    strings.Count(text, "\n"),
		fset:     fset,
		tree:     tree,
		imports:  map[string]string{},
		comments: map[int]string{},
	}
	f.inTests = f.isTest || testOnly(f.pkg)
	for _, spec := range tree.Imports {
		target := importPath(spec)
		local := path.Base(target)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		f.imports[local] = target
	}
	for _, group := range tree.Comments {
		for line := f.line(group.Pos()); line <= f.line(group.End()); line++ {
			f.comments[line] += group.Text()
		}
	}
	return f, nil
}

func importPath(spec *ast.ImportSpec) string {
	target, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser lets no such literal through
	}
	return target
}

// within tells whether a package is one of those listed, or below one.
func within(pkg string, listed ...string) bool {
	return slices.ContainsFunc(listed, func(top string) bool {
		return pkg == top || strings.HasPrefix(pkg, top+"/")
	})
}
