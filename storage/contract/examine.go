package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage"
)

const (
	// MaxSkew is by how much a store's clock may differ from this machine's.
	MaxSkew = 5 * time.Minute
	// Clean-up after an examination is given so long.
	tidyLimit = 2 * time.Minute

	speedBytes, quickSpeedBytes = 32 << 20, 8 << 20
)

// Options says how to examine a store.
type Options struct {
	Folder string // a fresh name below which the store is tried out
	Quick  bool   // leave out what sends many megabytes or a thousand objects
}

// Examine tries a person's own store out and tells each finding as it comes. It
// writes only below the folder, and removes that again, also after ctx has
// ended; what could not be removed is told. An error means that the store cannot
// be reached, or that the examination was interrupted.
//
//  1. Can the store be reached? 2. What do the credentials allow? 3. The contract,
//     check by check, as far as they allow it. 4. The clock. 5. What only this kind
//     of store has. 6. How fast it is. 7. Clean-up.
func Examine(ctx context.Context, s storage.Store, o Options, tell func(Finding)) (err error) {
	e := &examination{s: s, o: o, tell: tell}
	if err := e.reach(ctx); err != nil {
		return err
	}
	e.probe(ctx)
	if ctx.Err() == nil {
		tell(e.role())
	}
	if !e.may.put {
		return context.Cause(ctx)
	}
	defer func() {
		left := e.tidy(ctx)
		if err != nil || left == nil {
			err = errors.Join(err, left)
			return
		}
		tell(Finding{Check: "clean-up", Result: Warn, Detail: left.Error(), Advice: hint.Of(left)[0]})
	}()
	for _, step := range []func(context.Context){e.contract, e.clock, e.place, e.speed} {
		if ctx.Err() != nil {
			break
		}
		step(ctx)
	}
	return context.Cause(ctx)
}

type examination struct {
	s    storage.Store
	o    Options
	tell func(Finding)
	may  rights
}

// reach is an error if nothing can be asked at all. A folder that does not
// exist yet is made by the first Put, as a snapshot does.
func (e *examination) reach(ctx context.Context) error {
	for _, err := range e.s.List(ctx, e.o.Folder+"/") {
		if err != nil && !errors.Is(err, storage.ErrDenied) && !(errors.Is(err, storage.ErrNoStore) && strings.HasPrefix(e.s.String(), "file:")) {
			return err
		}
		break
	}
	return nil
}

// contract runs the checks that the rights and the options leave.
func (e *examination) contract(ctx context.Context) {
	passed := 0
	for i, c := range Checks() {
		if c.Heavy && (e.o.Quick || !e.may.remove) || c.Deletes && !e.may.remove {
			passed++
			continue
		}
		started := clock.Now()
		err := c.Run(ctx, Below(e.s, fmt.Sprintf("%s/%02d", e.o.Folder, i)))
		if ctx.Err() != nil {
			return
		}
		f := Finding{Check: c.Name, Result: OK, Elapsed: clock.Since(started)}
		if err != nil {
			f.Result, f.Detail = Fail, firstOf(err)
			f.Advice = "Do not keep backups here: this store does not do what they rely on."
			if hints := hint.Of(err); len(hints) > 0 {
				f.Advice = hints[0]
			}
		}
		e.tell(f)
	}
	if passed > 0 && !e.may.remove {
		e.tell(Finding{Check: "left out", Result: Warn, Detail: fmt.Sprintf("%s that would leave much behind", human.Plural(passed, "check")),
			Advice: "Check once with credentials that may delete."})
	}
}

// firstOf is the first of several faults, in one line, and how many there are.
func firstOf(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
		all := joined.Unwrap()
		err = all[0]
		if len(all) > 1 {
			err = fmt.Errorf("%w (and %d more)", err, len(all)-1)
		}
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// clock compares the store's clock with this machine's.
func (e *examination) clock(ctx context.Context) {
	f := Finding{Check: "clock", Result: OK}
	before := clock.Now()
	o, err := e.s.Put(ctx, e.o.Folder+"/clock", strings.NewReader("tick"))
	after := clock.Now()
	// Stores tell whole seconds.
	off := max(o.Modified.Sub(after), before.Truncate(time.Second).Sub(o.Modified), 0)
	switch {
	case err != nil:
		f.Result, f.Detail = Fail, firstOf(err)
	case off > MaxSkew:
		f.Result, f.Detail = Fail, fmt.Sprintf("%s there, %s here", human.Moment(o.Modified), human.Moment(after))
		f.Advice = "Set both by NTP: prune refuses to tell ages by clocks that differ."
	case off > 0:
		f.Detail = "differs by " + human.Duration(off)
	default:
		f.Detail = "as this machine's"
	}
	e.tell(f)
}

// place asks the store for what only its kind has.
func (e *examination) place(ctx context.Context) {
	if w, ok := storage.As[Witness](e.s); ok {
		for _, f := range w.Examine(ctx, e.o.Folder) {
			e.tell(f)
		}
	}
}

// speed puts one object and reads it back.
func (e *examination) speed(ctx context.Context) {
	size := speedBytes
	if e.o.Quick || !e.may.remove {
		size = quickSpeedBytes
	}
	data := Bytes(size, 5)
	f := Finding{Check: "speed", Result: OK}
	started := clock.Now()
	_, err := e.s.Put(ctx, e.o.Folder+"/speed", bytes.NewReader(data))
	putTook := clock.Since(started)
	started = clock.Now()
	if err == nil {
		var body io.ReadCloser
		if body, err = e.s.Open(ctx, e.o.Folder+"/speed"); err == nil {
			_, err = io.Copy(io.Discard, body)
			err = errors.Join(err, body.Close())
		}
	}
	readTook := clock.Since(started)
	rate := func(took time.Duration) string { return human.Size(int64(float64(size)/took.Seconds())) + "/s" }
	f.Detail, f.Elapsed = fmt.Sprintf("put %s, read %s, one object of %s", rate(putTook), rate(readTook), human.Size(int64(size))), putTook+readTook
	if err != nil {
		f.Result, f.Detail = Fail, firstOf(err)
	}
	if ctx.Err() == nil {
		e.tell(f)
	}
}
