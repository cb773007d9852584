package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/spf13/pflag"
)

// oneNodeOptions are those of a seed, most of them of one node alone.
type oneNodeOptions struct {
	node, name string
	limit      time.Duration
	bases      bool
}

func (o *oneNodeOptions) addFlags(set *pflag.FlagSet, toDir *string, at *[]string) {
	set.StringVar(toDir, "to-dir", "", "a new or empty `FOLDER` to seed")
	set.StringSliceVar(at, "at", nil, "with --to-dir: the addresses that the seeded nodes will have, the primaries first: `ADDR,...`")
	set.BoolVar(&o.bases, "append-only", false, "with --to-dir: for servers that run with appendonly yes; each dump becomes the base of a set of append-only files")
	set.StringVar(&o.node, "node", "", "with --to-dir: seed one node alone, into the folder itself: its `PLACE` in --at, from 1 on, or its address there")
	set.StringVar(&o.name, "restore-name", "", "with --node: `TEXT` that each node of this restore is given, and no other restore's; the nodes' ids follow from it")
	set.DurationVar(&o.limit, "names-limit", restore.DefaultNamesLimit, "with --node: how long names in --at that are not known yet are waited for")
}

// place is the node's place in --at, 0 where all are seeded.
func (o *oneNodeOptions) place(whole restoreOptions) (int, error) {
	if o.node == "" {
		if o.name != "" {
			return 0, errors.New("--restore-name goes with --node")
		}
		return 0, nil
	}
	switch {
	case whole.toDir == "":
		return 0, errors.New("--node goes with --to-dir")
	case len(whole.at) == 0:
		return 0, errors.New("--node says which of the addresses of --at the node has: give --at ADDR,..., the same to each node")
	case o.name == "":
		return 0, hint.Add(errors.New("--node needs --restore-name: the ids of the nodes follow from it"), "give each node the same text, and no other restore's, such as the StatefulSet's uid")
	case o.limit <= 0:
		return 0, fmt.Errorf("--names-limit %s: want more than nothing, such as 10m", o.limit)
	}
	if n, err := strconv.Atoi(o.node); err == nil {
		if n < 1 || n > len(whole.at) {
			return 0, fmt.Errorf("--node %d: want 1 to %d, a place among the addresses of --at", n, len(whole.at))
		}
		return n, nil
	}
	at := slices.Index(whole.at, o.node)
	if at < 0 {
		return 0, fmt.Errorf("--node %s: it is none of the addresses of --at", o.node)
	}
	return at + 1, nil
}

type seededMessage struct {
	Type     string      `json:"message_type"` // "seeded"
	Snapshot manifest.ID `json:"snapshot"`
	Node     int         `json:"node"`
	Folder   string      `json:"folder"`
}

// alreadySeeded tells whether the folder is the node's since an earlier run: an init
// container runs at each start of its pod, when the stores may be gone.
func (a *app) alreadySeeded(o restoreOptions, node int, ref string) (bool, error) {
	id, err := manifest.ParseID(ref)
	if err != nil {
		return false, hint.Add(usageError{fmt.Errorf("--node takes the whole id of a snapshot, not %q: to each node, and at each of its starts, that must mean the same one", ref)}, "see which there are: slotark list")
	}
	done, err := restore.Seeded(o.toDir, o.one.name, id, node)
	if err != nil || !done {
		return false, err
	}
	if a.json {
		a.emit(seededMessage{"seeded", id, node, o.toDir})
		return true, nil
	}
	fmt.Fprintf(a.stdout, "nothing to do: %s is node %d of this restore of %s already\n", o.toDir, node, id)
	return true, nil
}
