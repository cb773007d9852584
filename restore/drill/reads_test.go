package drill

import (
	"errors"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/snapshot/manifest"
)

// A server that does not read the dumps is refused by what its image says it is, and
// by asking a program; of other images nothing is known.
func TestReads(t *testing.T) {
	of := func(rdb int) *manifest.Manifest {
		return &manifest.Manifest{Server: manifest.Server{Engine: "redis", Version: "8.0.2"}, Shards: []manifest.Shard{{Dump: manifest.Dump{RDBVersion: rdb}}}}
	}
	for image, refused := range map[string]bool{
		"redis:7.0": true, "redis:7.2.4-alpine": true, "valkey/valkey:9.1": true, "registry.example:5000/mirror/redis:7.0.15": true,
		"redis:8.0": false, "redis:8": false, "redis": false, "redis:latest": false, "mine/redis-fork:7.0": false, "redis:1.2": false,
	} {
		d := &rehearsal{Options: Options{Image: image}, manifest: of(12), place: &place{runtime: Docker}}
		if err := d.reads(); errors.Is(err, hint.ErrRefused) != refused || refused && !strings.Contains(err.Error(), "image "+image+" runs ") {
			t.Errorf("%s: %v", image, err)
		}
	}
	binary, err := findProgram("", manifest.Server{Engine: "redis", Version: "7.0.15"})
	if err != nil {
		t.Fatal(err)
	}
	d := &rehearsal{manifest: of(70), place: &place{runtime: Process, binary: binary}}
	if err := d.reads(); !errors.Is(err, hint.ErrRefused) {
		t.Errorf("a program: %v", err)
	}
	d.manifest = of(9)
	if err := d.reads(); err != nil {
		t.Errorf("a program: %v", err)
	}
}
