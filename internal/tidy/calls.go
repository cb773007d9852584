package tidy

import (
	"go/ast"
	"slices"
	"strings"
)

// ban keeps the use of a function to the places it belongs to.
type ban struct {
	rule    string
	pkg     string // import path
	names   []string
	prefix  bool                         // names are beginnings of names
	allowed func(*file, *ast.Ident) bool // nil: nowhere
	instead string
}

var bans = []ban{
	{
		rule: "time", pkg: "time", names: []string{"Now", "Since", "Until"},
		allowed: func(f *file, _ *ast.Ident) bool { return f.inTests || f.pkg == "internal/clock" },
		instead: "take the time as a value or a func() time.Time, or ask internal/clock",
	},
	{
		rule: "sleep", pkg: "time", names: []string{"Sleep"},
		instead: "wait for what is awaited, with a timer and a context; in tests use testing/synctest",
	},
	{
		rule: "exit", pkg: "os", names: []string{"Exit"},
		allowed: func(f *file, use *ast.Ident) bool { return isMainFile(f) || inTestMain(f, use) },
		instead: "return an error: only main turns one into an exit code",
	},
	{
		rule: "log", pkg: "log", names: []string{"Fatal", "Print", "Panic"}, prefix: true, allowed: atTheBoundary,
		instead: "return the error, or log to the *slog.Logger that was handed in",
	},
	{
		rule: "print", pkg: "fmt", names: []string{"Print"}, prefix: true, allowed: atTheBoundary,
		instead: "write to an io.Writer that was handed in",
	},
	{
		rule: "background", pkg: "context", names: []string{"Background", "TO" + "DO"},
		allowed: func(f *file, _ *ast.Ident) bool { return f.inTests || isMainFile(f) },
		instead: "take the caller's ctx; for clean-up after a cancel use context.WithoutCancel with a time limit",
	},
	{
		rule: "write", pkg: "os", names: []string{"WriteFile", "Create"},
		allowed: func(f *file, use *ast.Ident) bool {
			return f.inTests || f.pkg == "internal/atomicfile" || f.explained(use.Pos(), "private:")
		},
		instead: "write by internal/atomicfile, so that a crash leaves no half of a file; where nobody reads the file after a crash, say so in a comment \"// private: …\"",
	},
}

// isMainFile tells whether a file is the main.go of a program.
func isMainFile(f *file) bool {
	return slices.Contains([]string{"cmd/slotark/main.go", "internal/demo/main.go", "internal/testreport/main.go"}, f.path)
}

// atTheBoundary tells whether a file's output is what a person sees.
func atTheBoundary(f *file, _ *ast.Ident) bool {
	return within(f.pkg, "cmd", "internal/demo", "internal/testreport")
}

func inTestMain(f *file, use *ast.Ident) bool {
	if !f.isTest {
		return false
	}
	for _, d := range f.tree.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "TestMain" && fn.Pos() <= use.Pos() && use.Pos() < fn.End() {
			return true
		}
	}
	return false
}

// checkCalls finds the banned functions, called or passed on as a value.
func checkCalls(f *file) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok {
			for _, b := range bans {
				if f.imports[x.Name] == b.pkg && b.matches(selector.Sel.Name) && (b.allowed == nil || !b.allowed(f, selector.Sel)) {
					f.report(x.Pos(), b.rule, "%s.%s is not for here: %s", x.Name, selector.Sel.Name, b.instead)
				}
			}
		}
		return true
	})
}

func (b ban) matches(name string) bool {
	return slices.ContainsFunc(b.names, func(banned string) bool {
		return name == banned || b.prefix && strings.HasPrefix(name, banned)
	})
}

// checkSkips finds tests that leave themselves out. What a test needs is
// installed by `make deps tools`; where it is missing the test fails and says so.
func checkSkips(f *file) {
	if _, ok := f.imports["testing"]; !ok {
		return
	}
	handles := map[string]bool{} // names of parameters, variables and fields that are a *testing.T or the like
	ast.Inspect(f.tree, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok && isTestHandle(field.Type) {
			for _, name := range field.Names {
				handles[name.Name] = true
			}
		}
		return true
	})
	ast.Inspect(f.tree, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, selector.Sel.Name) {
			return true
		}
		var receiver string
		switch x := selector.X.(type) {
		case *ast.Ident:
			receiver = x.Name
		case *ast.SelectorExpr:
			receiver = x.Sel.Name
		}
		if handles[receiver] {
			f.report(selector.Pos(), "skip", "a test is not skipped: what it needs is installed by make deps tools; fail, and say what is missing")
		}
		return true
	})
}

func isTestHandle(t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	selector, ok := t.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"T", "B", "F", "TB"}, selector.Sel.Name) {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name == "testing"
}

// checkPanics wants a reason beside each panic, and finds init functions and
// the built-in print functions.
func checkPanics(f *file) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				f.report(n.Pos(), "init", "an init function runs unseen: call it from main, or make it the value of a variable")
			}
		case *ast.CallExpr:
			name, ok := n.Fun.(*ast.Ident)
			if !ok {
				return true
			}
			if name.Name == "panic" && !f.isTest && !f.explained(n.Pos(), "impossible:") {
				f.report(n.Pos(), "panic", "return an error; where it cannot happen say why in a comment \"// impossible: …\" on this line or the one before")
			}
			if name.Name == "print" || name.Name == "println" {
				f.report(n.Pos(), "builtin-print", "%s is for debugging: remove it", name.Name)
			}
		}
		return true
	})
}
