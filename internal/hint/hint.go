package hint

import "errors"

type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Add returns err carrying a hint. A nil err stays nil.
func Add(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, hint}
}

// Of returns the hints in an error's tree, outermost first, each once.
func Of(err error) []string {
	var hints []string
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		if h, ok := err.(*hinted); ok && !seen[h.hint] {
			seen[h.hint] = true
			hints = append(hints, h.hint)
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
	return hints
}

// ErrRefused marks an error by which a guard refused to begin: nothing was
// changed. The command line turns it into exit code 13.
var ErrRefused = errors.New("refused")

// Refuse returns an error that says why a guard refused and what to do, and
// that errors.Is knows as [ErrRefused].
func Refuse(reason error, hint string) error {
	return Add(&refusal{reason}, hint)
}

type refusal struct{ error }

func (r *refusal) Unwrap() []error { return []error{r.error, ErrRefused} }

// ErrLeft marks an error after which something is left of what was begun. The
// error says what, the hint what to do with it.
var ErrLeft = errors.New("something is left behind")

// Left returns an error that errors.Is knows as [ErrLeft].
func Left(err error, hint string) error {
	return Add(&leaving{err}, hint)
}

type leaving struct{ error }

func (l *leaving) Unwrap() []error { return []error{l.error, ErrLeft} }
