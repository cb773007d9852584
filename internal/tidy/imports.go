package tidy

import (
	"go/ast"
	"slices"
	"strings"
)

// dependenciesDoc is where each direct dependency is justified.
const dependenciesDoc = "docs/dependencies.md"

// checkImports keeps imports going down. Test files are free: an outer test
// (package x_test) may use what stands above its package.
func checkImports(f *file) {
	for _, spec := range f.tree.Imports {
		if spec.Name != nil && spec.Name.Name == "." {
			f.report(spec.Pos(), "dot-import", "a dot import hides where names come from: import %s by its name", spec.Path.Value)
		}
		target, ours := strings.CutPrefix(importPath(spec), module+"/")
		if ours && !f.isTest {
			checkImport(f, spec, target)
		}
	}
}

// checkImport reports at most one thing about an import: the rule that says
// most about why it is wrong.
func checkImport(f *file, spec *ast.ImportSpec, target string) {
	for _, b := range boundaries {
		if within(f.pkg, b.from...) && within(target, b.to...) {
			f.report(spec.Pos(), "boundary", "%s imports %s: %s", f.pkg, target, b.why)
			return
		}
	}
	if allowed, listed := restricted[target]; listed && !slices.Contains(allowed, f.pkg) {
		if _, alsoListed := restricted[f.pkg]; !alsoListed {
			f.report(spec.Pos(), "test-only", "%s imports %s, which is for tests: move what is needed to a package of its own", f.pkg, target)
			return
		}
	}
	from, known := layers[f.pkg]
	to, targetKnown := layers[target]
	if !known || !targetKnown { // reported once, for the package itself
		return
	}
	if from <= to && !sameLayer[[2]string{f.pkg, target}] {
		f.report(spec.Pos(), "layer", "%s (layer %d) imports %s (layer %d): imports go only down; move the code, hand it in as a value, or correct the table in internal/tidy", f.pkg, from, target, to)
	}
}

// checkDependencies wants a line in docs/dependencies.md for every module that
// the code imports.
func checkDependencies(f *file, doc string) {
	for _, spec := range f.tree.Imports {
		target := importPath(spec)
		host, _, _ := strings.Cut(target, "/")
		if !strings.Contains(host, ".") || within(target, module) {
			continue // the standard library, or ours
		}
		if !documented(target, doc) {
			f.report(spec.Pos(), "dependency", "%s is imported and has no line in %s: say what it does, who keeps it, what was weighed against it", target, dependenciesDoc)
		}
	}
}

// documented looks for the import path, or a parent of it that can be a module.
func documented(target, doc string) bool {
	for strings.Contains(target, "/") {
		if strings.Contains(doc, "`"+target+"`") {
			return true
		}
		target = target[:strings.LastIndex(target, "/")]
	}
	return false
}
