package tidy

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// checkPackage looks at all files of one package together.
func checkPackage(pkg string, files []*file) {
	first := files[0]
	if _, known := layers[pkg]; !known {
		first.report(first.tree.Pos(), "table", "package %s is unknown: add it to the table in internal/tidy (table.go), at the height its imports allow", pkg)
	}
	name := strings.TrimSuffix(first.tree.Name.Name, "_test")
	if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}, name) {
		first.report(first.tree.Name.Pos(), "package-name", "package %s says nothing: name it after what it holds, a noun read at the call site", name)
	}
	doc := slices.IndexFunc(files, func(f *file) bool { return path.Base(f.path) == "doc.go" })
	if doc < 0 {
		first.report(first.tree.Pos(), "doc", "package %s has no doc.go: write one that states its invariant", pkg)
		return
	}
	f := files[doc]
	opening := "Package " + name
	if name == "main" {
		opening = "Command " + path.Base(pkg)
	}
	if !strings.HasPrefix(f.tree.Doc.Text(), opening) {
		f.report(f.tree.Pos(), "doc-comment", "doc.go has no package comment that begins with %q", opening)
	}
}

// checkSizes keeps files and functions short enough to be read whole.
func checkSizes(f *file) {
	limit := maxFileLines
	if f.isTest {
		limit = maxTestFileLines
	}
	if f.lines > limit {
		f.report(f.tree.Pos(), "file-size", "%d lines, at most %d: split it by step, a file named after each", f.lines, limit)
	}
	if f.isTest {
		return
	}
	for _, d := range f.tree.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if lines := f.line(fn.End()) - f.line(fn.Pos()) + 1; lines > maxFuncLines {
			f.report(fn.Pos(), "func-size", "%s has %d lines, at most %d: keep the control flow, move the steps out", fn.Name.Name, lines, maxFuncLines)
		}
	}
}
