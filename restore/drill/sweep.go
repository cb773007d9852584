package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/snapshot/manifest"
)

// The labels of what a drill makes in an engine.
const (
	labelDrill   = "io.slotark.drill"     // the drill's id
	labelOwner   = "io.slotark.owner"     // HOST-BOOT-PID-START, what the sweep goes by
	labelPID     = "io.slotark.owner-pid" // for people
	labelHost    = "io.slotark.owner-host"
	labelStarted = "io.slotark.started"
	labelImage   = "io.slotark.image" // on images made here: the server inside
)

func (o order) labels() map[string]string {
	return map[string]string{
		labelDrill:   string(o.id),
		labelOwner:   o.owner.String(),
		labelPID:     fmt.Sprint(o.owner.pid),
		labelHost:    o.owner.host,
		labelStarted: clock.Now().Format(time.RFC3339),
	}
}

// sweep removes what dead drills left: containers, where there is an engine,
// then folders. What runs, and what belongs to another host, stays. A failure
// is reported and does not stop the drill that found it.
func sweep(ctx context.Context, e *engine, root string, here owner, log *slog.Logger) error {
	var swept []manifest.ID
	var errContainers error
	if e != nil {
		swept, errContainers = e.sweepContainers(ctx, here)
		e.sweepImages(ctx)
	}
	folders, errFolders := sweepFolders(root, here)
	swept = append(swept, folders...)
	slices.Sort(swept)
	for _, id := range slices.Compact(swept) {
		log.Info("removed what a dead drill left", "drill", id)
	}
	if err := errors.Join(errContainers, errFolders); err != nil {
		return fmt.Errorf("sweep old drills: %w", err)
	}
	return nil
}

// sweepContainers removes the containers of abandoned drills.
func (e *engine) sweepContainers(ctx context.Context, here owner) ([]manifest.ID, error) {
	found, err := e.api.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", labelOwner),
	})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	left := map[manifest.ID]bool{}
	for _, c := range found.Items {
		id := manifest.ID(c.Labels[labelDrill])
		// A label that does not parse is not of our making.
		if by, err := parseOwner(c.Labels[labelOwner]); err == nil && id != "" && abandoned(by, id, here) {
			left[id] = true
		}
	}
	var swept []manifest.ID
	var failures []error
	for id := range left {
		if err := e.removeDrill(ctx, id); err != nil {
			failures = append(failures, err)
			continue
		}
		swept = append(swept, id)
	}
	return swept, errors.Join(failures...)
}

// removeDrill removes every container of one drill, with the volumes its image
// may have asked for.
func (e *engine) removeDrill(ctx context.Context, id manifest.ID) error {
	found, err := e.api.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", labelDrill+"="+string(id)),
	})
	if err != nil {
		return fmt.Errorf("list containers of drill %s: %w", id, err)
	}
	// One that cannot be removed must not save the others: no shared context.
	var group errgroup.Group
	group.SetLimit(parallelStarts)
	failures := make([]error, len(found.Items))
	for i, c := range found.Items {
		group.Go(func() error {
			_, err := e.api.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			// Another drill's sweep, or a person, may have been faster.
			if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
				failures[i] = fmt.Errorf("remove container %s: %w", c.ID[:min(12, len(c.ID))], err)
			}
			return nil
		})
	}
	_ = group.Wait() // the failures are in their places
	return errors.Join(failures...)
}

// sweepImages removes local images that lost their name: two programs that made
// the same one at the same moment leave one without. One that is in use refuses
// to go, and is tried again by the next drill.
func (e *engine) sweepImages(ctx context.Context) {
	found, err := e.api.ImageList(ctx, client.ImageListOptions{
		Filters: make(client.Filters).Add("label", labelImage).Add("dangling", "true"),
	})
	if err != nil {
		return
	}
	for _, image := range found.Items {
		_, _ = e.api.ImageRemove(ctx, image.ID, client.ImageRemoveOptions{})
	}
}
