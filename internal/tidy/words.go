package tidy

import (
	"go/ast"
	"regexp"
	"strings"
)

// unfinished matches the marks of work put off. It is pieced together so that
// this file does not match itself.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

// checkComments finds work put off and linters silenced.
func checkComments(f *file) {
	for _, group := range f.tree.Comments {
		for _, c := range group.List {
			if mark := unfinished.FindString(c.Text); mark != "" {
				f.report(c.Pos(), "unfinished", "%s: do it, or open an issue and remove the mark", mark)
			}
			if strings.HasPrefix(c.Text, "//nolint") {
				f.report(c.Pos(), "nolint", "do not silence a check: change the code, or the check")
			}
		}
	}
}

// wireText are the packages that parse or write Redis' own words.
var wireText = []string{"internal/cluster", "internal/clustertest", "internal/rdb", "snapshot/collect", "restore"}

// checkWords keeps Redis' old words for primary and replica to the code that
// reads and writes its text. Names that another library chose (a selector, a
// field in a literal) cannot be helped; of our own each is reported once a
// file.
func checkWords(f *file) {
	if within(f.pkg, wireText...) {
		return
	}
	foreign := map[*ast.Ident]bool{}
	seen := map[string]bool{}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			foreign[n.Sel] = true
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok {
				foreign[key] = true
			}
		case *ast.Ident:
			lower := strings.ToLower(n.Name)
			if foreign[n] || seen[n.Name] || !strings.Contains(lower, "master") && !strings.Contains(lower, "slave") {
				return true
			}
			seen[n.Name] = true
			f.report(n.Pos(), "words", "%s: the words are primary and replica; the others stay where wire text is parsed", n.Name)
		}
		return true
	})
}
