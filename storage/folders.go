package storage

import "context"

// FolderLister is a store that can tell which folders stand in one without
// walking all that is below: a folder on a disk. Where a snapshot has a thousand
// objects, that is one question for it instead of a thousand. A bucket tells a
// thousand names at once, and has no quicker way to say which of them there are.
// A decorator of such a store is one too.
type FolderLister interface {
	Folders(ctx context.Context, prefix string) ([]string, error)
}
