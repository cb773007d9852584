package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/slotark/slotark/snapshot/manifest"
)

// place is where a drill's nodes will run: the runtime that was chosen, and
// what it runs.
type place struct {
	runtime Runtime // Docker or Process
	engine  *engine // of the sweep also where the drill runs in processes; nil without one
	image   image   // of Docker
	binary  string  // of Process
}

// findPlace chooses the runtime. It asks for an engine in any case: an earlier
// drill may have left containers. The caller closes the place.
func findPlace(ctx context.Context, wanted Runtime, log *slog.Logger) (*place, error) {
	e, err := findEngine(ctx, log)
	switch {
	case err == nil && wanted != Process:
		return &place{runtime: Docker, engine: e}, nil
	case err == nil:
		return &place{runtime: Process, engine: e}, nil
	case wanted == Docker || !errors.Is(err, ErrNoEngine):
		return nil, fmt.Errorf("choose runtime: %w", err)
	}
	if wanted == Auto {
		log.Info("drilling in local processes", "reason", err)
	}
	return &place{runtime: Process}, nil
}

// choose finds what to run for a snapshot's server, where no image and no program
// was asked for.
func (p *place) choose(ctx context.Context, img, program string, server manifest.Server) (err error) {
	switch {
	case p.runtime == Docker && program != "":
		return fmt.Errorf("use program %s: %w", program, errProgramInContainers)
	case p.runtime == Docker:
		p.image, err = p.engine.findImage(ctx, img, server)
	case img != "":
		return fmt.Errorf("use image %s: %w", img, errImageInProcesses)
	default:
		p.binary, err = findProgram(program, server)
	}
	return err
}

var errImageInProcesses = errors.New("local processes run the installed server, not an image: an image needs --runtime docker and an engine that answers")

var errProgramInContainers = errors.New("containers run an image, not a program: a program needs --runtime process")

// provision starts the nodes.
func (p *place) provision(ctx context.Context, o order) (Sandbox, error) {
	if p.runtime == Docker {
		return provisionContainers(ctx, p.engine, p.image, o)
	}
	return provisionProcesses(ctx, p.binary, o)
}

func (p *place) close() { p.engine.close() }
