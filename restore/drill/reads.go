package drill

import (
	"regexp"

	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/restore"
)

// published are the images of the projects themselves, in whatever registry, whose tag
// is the server's version.
var published = regexp.MustCompile(`^(?:[^ ]*/)?(redis|valkey):([4-9]|[1-9][0-9]+)(\.[0-9]+[0-9.]*)`)

// reads refuses a server that does not read the snapshot's dumps before any of them is
// started. Of an image that does not say what it is the restore's own check finds it.
func (d *rehearsal) reads() error {
	if d.place.runtime == Process {
		engine, version, err := redisproc.Version(d.place.binary)
		if err != nil {
			return err
		}
		return restore.Reads(d.manifest, d.place.binary, engine, version)
	}
	if is := published.FindStringSubmatch(d.Image); is != nil {
		return restore.Reads(d.manifest, "image "+d.Image, is[1], is[2]+is[3])
	}
	return nil
}
