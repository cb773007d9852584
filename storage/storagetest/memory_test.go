package storagetest_test

import (
	"testing"

	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/storagetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Store { return storagetest.NewMemory("test") })
}
