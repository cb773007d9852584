package contract_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/contract"
	"github.com/slotark/slotark/storage/storagetest"
)

// examine gives the findings by check.
func examine(t *testing.T, ctx context.Context, s storage.Store) (map[string]contract.Finding, error) {
	t.Helper()
	found := map[string]contract.Finding{}
	err := contract.Examine(ctx, s, contract.Options{Folder: "try", Quick: true}, func(f contract.Finding) { found[f.Check] = f })
	return found, err
}

// odd is a store that does one thing otherwise.
type odd struct {
	*storagetest.Memory
	skew  time.Duration
	onPut func(name string) error
	onDel func(name string) error
}

func (o odd) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if o.onPut != nil {
		if err := o.onPut(name); err != nil {
			return storage.Object{}, err
		}
	}
	object, err := o.Memory.Put(ctx, name, body)
	object.Modified = object.Modified.Add(o.skew)
	return object, err
}

func (o odd) Delete(ctx context.Context, name string) error {
	if o.onDel != nil {
		if err := o.onDel(name); err != nil {
			return err
		}
	}
	return o.Memory.Delete(ctx, name)
}

func TestExamineComparesClocks(t *testing.T) {
	for skew, want := range map[time.Duration]contract.Result{
		0: contract.OK, 4 * time.Minute: contract.OK, -4 * time.Minute: contract.OK, 6 * time.Minute: contract.Fail, -6 * time.Minute: contract.Fail,
	} {
		found, err := examine(t, t.Context(), odd{Memory: storagetest.NewMemory("m"), skew: skew})
		if err != nil || found["clock"].Result != want || (want == contract.Fail) != (found["clock"].Advice != "") {
			t.Errorf("a clock off by %s: %+v, %v", skew, found["clock"], err)
		}
	}
}

func TestExamineFindsABrokenStore(t *testing.T) {
	memory := storagetest.NewMemory("m")
	found, err := examine(t, t.Context(), broken{memory, "backwards"})
	if f := found["lists in order"]; err != nil || f.Result != contract.Fail || f.Detail == "" || f.Advice == "" {
		t.Errorf("got %+v, %v", f, err)
	}
	if left := storagetest.Names(t, memory, ""); len(left) > 0 {
		t.Errorf("it has left %q", left)
	}
}

// What must stay is named; what is not about rights is not taken for them.
func TestExamineNamesWhatStays(t *testing.T) {
	memory := storagetest.NewMemory("m")
	found, err := examine(t, t.Context(), odd{Memory: memory, onDel: func(name string) error {
		if strings.HasSuffix(name, "/speed") {
			return storage.ErrDenied
		}
		return nil
	}})
	if f := found["clean-up"]; err != nil || f.Result != contract.Warn || !strings.Contains(f.Detail, "1 of its objects below try/") || !strings.Contains(f.Detail, "try/speed") {
		t.Errorf("got %+v, %v", f, err)
	}
	found, err = examine(t, t.Context(), odd{Memory: storagetest.NewMemory("m"), onPut: func(string) error { return storage.ErrFull }})
	if f := found["rights"]; err != nil || f.Result != contract.Fail || !strings.Contains(f.Detail, storage.ErrFull.Error()) {
		t.Errorf("a full store: %+v, %v", f, err)
	}
}

func TestExamineInterrupted(t *testing.T) {
	memory := storagetest.NewMemory("m")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := examine(t, ctx, odd{Memory: memory, onPut: func(name string) error {
		if strings.HasSuffix(name, "/prod/b/c") {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || errors.Is(err, hint.ErrLeft) {
		t.Errorf("got %v", err)
	}
	if left := storagetest.Names(t, memory, ""); len(left) > 0 {
		t.Errorf("it has left %q", left)
	}
}
