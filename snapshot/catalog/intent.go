package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
)

// Intent says which nodes a run is about to change, and how they were, so that
// a later run, on whatever machine, puts back what that one could not:
//
//	<cluster>/intents/<snapshot>/begun.json   before the first node is changed
//	<cluster>/intents/<snapshot>/ended.json   when all are as they were
type Intent struct {
	Snapshot manifest.ID  `json:"snapshot"`
	Host     string       `json:"host,omitempty"`
	Process  int          `json:"process"`
	Until    time.Time    `json:"until,omitzero"` // the run has ended by then, and changes nothing any more
	Nodes    []IntentNode `json:"nodes"`
}

// MayRun tells whether the run may still be under way at an instant. Then its
// record has to stay, whatever was put back: it may change a node yet.
func (in Intent) MayRun(now time.Time) bool { return now.Before(in.Until) }

// IntentNode is one node, and its own value of the setting.
type IntentNode struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Setting string `json:"setting"`
	Value   string `json:"value"`
}

const (
	intentBegun = "begun.json"
	intentEnded = "ended.json"
)

// Intend stores an intent. One store that has it is enough for a later run to
// find it.
func (r *Repository) Intend(ctx context.Context, cluster string, in Intent) error {
	in.Host, _ = os.Hostname() // an intent without it is as good
	in.Process = os.Getpid()
	took, err := putEverywhere(ctx, r.ready(), recordsOf(intentsDir, cluster, in.Snapshot)+intentBegun, in)
	if len(took) == 0 {
		return fmt.Errorf("store the record of what is changed on the nodes: %w", err)
	}
	return nil
}

// Fulfil says that all nodes of an intent are as they were, also after ctx has
// ended. One store that has it is enough.
func (r *Repository) Fulfil(ctx context.Context, cluster string, snapshot manifest.ID) error {
	name := recordsOf(intentsDir, cluster, snapshot) + intentEnded
	took, err := putEverywhere(context.WithoutCancel(ctx), r.ready(), name, Intent{Snapshot: snapshot, Process: os.Getpid()})
	if len(took) == 0 && !errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("store that the nodes are as they were: %w", err)
	}
	return nil
}

// ready are the stores that can be written.
func (r *Repository) ready() []storage.Named {
	return slices.DeleteFunc(slices.Clone(r.stores), func(s storage.Named) bool { return r.unready[s.Name] != nil })
}

// Intents are those of this month and the last that have not ended, the oldest
// first. Stores that do not answer are passed over unless all are.
func (r *Repository) Intents(ctx context.Context, cluster string, now time.Time) ([]Intent, error) {
	stores := r.ready()
	begun, ended := map[manifest.ID]storage.Named{}, map[manifest.ID]bool{}
	names, errs := make([][]string, len(stores)), make([]error, len(stores))
	now = now.UTC()
	months := []time.Time{now, time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC)}
	inEach(ctx, stores, func(ctx context.Context, i int) {
		for _, month := range months {
			for object, err := range stores[i].List(ctx, cluster+"/"+intentsDir+"/"+month.Format("200601")) {
				if err != nil {
					errs[i] = err
					return
				}
				names[i] = append(names[i], object.Name)
			}
		}
	})
	if !slices.Contains(errs, nil) {
		return nil, errors.Join(errs...)
	}
	for i := range stores {
		for _, name := range names[i] {
			_, kind, id, rest := folderOf(name)
			switch {
			case kind != intentsDir || id == "":
			case rest == intentBegun:
				begun[id] = stores[i]
			case rest == intentEnded:
				ended[id] = true
			}
		}
	}
	var open []Intent
	for id, store := range begun {
		if ended[id] {
			continue
		}
		var in Intent
		if err := readJSON(ctx, store, recordsOf(intentsDir, cluster, id)+intentBegun, &in); err != nil {
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				continue // half a record is of a run that had not begun: it waits for the whole
			}
			return nil, err
		}
		in.Snapshot = id
		open = append(open, in)
	}
	slices.SortFunc(open, func(a, b Intent) int { return strings.Compare(string(a.Snapshot), string(b.Snapshot)) })
	return open, nil
}

// intentOpen tells whether a store has an intent of a snapshot that has not
// ended there: a prune leaves that where it is.
func intentOpen(ctx context.Context, store storage.Store, cluster string, id manifest.ID) (bool, error) {
	isBegun, isEnded := false, false
	for object, err := range store.List(ctx, recordsOf(intentsDir, cluster, id)) {
		if err != nil {
			return false, err
		}
		isBegun = isBegun || strings.HasSuffix(object.Name, "/"+intentBegun)
		isEnded = isEnded || strings.HasSuffix(object.Name, "/"+intentEnded)
	}
	return isBegun && !isEnded, nil
}
