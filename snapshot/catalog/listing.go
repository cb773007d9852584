package catalog

import (
	"context"
	"errors"

	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage"
	"golang.org/x/sync/errgroup"
)

// listKnown gives the manifests and records of one cluster, or of all where it
// is "", of one store: perhaps among other objects, and in no order.
func listKnown(ctx context.Context, store storage.Store, cluster string, add func(storage.Object)) error {
	byFolder, ok := store.(storage.FolderLister)
	if !ok {
		return listAll(ctx, store, under(cluster), add)
	}
	clusters := []string{cluster}
	if cluster == "" {
		var err error
		if clusters, err = byFolder.Folders(ctx, ""); err != nil {
			return err
		}
	}
	for _, c := range clusters {
		if manifest.ValidateClusterName(c) != nil {
			continue // no cluster's folder
		}
		if err := statManifests(ctx, store, byFolder, c, add); err != nil {
			return err
		}
		for _, kind := range []string{verifiedDir, drillsDir, holdsDir, restoresDir} {
			if err := listAll(ctx, store, c+"/"+kind+"/", add); err != nil {
				return err
			}
		}
	}
	return nil
}

func listAll(ctx context.Context, store storage.Store, prefix string, add func(storage.Object)) error {
	for object, err := range store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		add(object)
	}
	return nil
}

// statManifests asks in each snapshot's folder for its manifest.
func statManifests(ctx context.Context, store storage.Store, byFolder storage.FolderLister, cluster string, add func(storage.Object)) error {
	ids, err := byFolder.Folders(ctx, cluster+"/"+snapshotsDir+"/")
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxReads)
	for _, text := range ids {
		id, err := manifest.ParseID(text)
		if err != nil {
			continue
		}
		group.Go(func() error {
			object, err := store.Stat(ctx, ManifestName(cluster, id))
			if errors.Is(err, storage.ErrNotFound) { // it failed, or is under way
				return nil
			}
			if err == nil {
				add(object)
			}
			return err
		})
	}
	return group.Wait()
}
