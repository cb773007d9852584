package verify

import "github.com/slotark/slotark/snapshot/catalog"

// ErrDamaged is returned for an object whose bytes are not those that the
// manifest records: that of the catalog, which reads them.
var ErrDamaged = catalog.ErrDamaged
