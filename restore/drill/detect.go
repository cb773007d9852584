package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"github.com/slotark/slotark/internal/hint"
)

// ErrNoEngine is returned when a drill was to run in containers and no Docker
// engine that can hold them was found.
var ErrNoEngine = errors.New("no usable Docker engine")

// Runtime says where a drill's nodes run.
type Runtime string

const (
	Auto    Runtime = "auto"    // containers where an engine answers, else processes
	Docker  Runtime = "docker"  // containers, or an error
	Process Runtime = "process" // local server processes
)

// ParseRuntime reads a runtime as a flag or a setting gives it; nothing means
// [Auto].
func ParseRuntime(text string) (Runtime, error) {
	switch r := Runtime(text); r {
	case "":
		return Auto, nil
	case Auto, Docker, Process:
		return r, nil
	default:
		return "", fmt.Errorf("parse runtime %q: want auto, docker or process", text)
	}
}

const (
	// detectLimit bounds asking whether an engine answers. One that hangs is as
	// good as none.
	detectLimit = 3 * time.Second
	// describeLimit bounds what is asked of an engine that does answer. A busy
	// one may take its time, and is not given up for less isolation.
	describeLimit = 20 * time.Second
)

// engine is a Docker engine on this machine.
type engine struct {
	provider *testcontainers.DockerProvider
	api      client.APIClient
	log      *slog.Logger
}

// findEngine returns the Docker engine of this machine, or [ErrNoEngine] with
// the reason.
func findEngine(ctx context.Context, log *slog.Logger) (*engine, error) {
	if err := answers(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask the Docker engine: %w", ctx.Err())
		}
		return nil, hint.Add(fmt.Errorf("%w: %w", ErrNoEngine, err),
			"start Docker on this machine and check it with: docker version. Or drill in local processes: --runtime process")
	}
	// testcontainers asks the engine again, without a limit, and remembers a
	// failure for as long as this process lives. So it is asked only now that
	// the engine is known to answer.
	quiet()
	provider, err := testcontainers.NewDockerProvider(
		testcontainers.Generic2DockerOptions(testcontainers.WithLogger(eventLog{log}))...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoEngine, err)
	}
	api := provider.Client()
	provider.SetClient(keptOpen{api})
	return &engine{provider, api, log}, nil
}

// keptOpen is a client that only its owner closes. testcontainers closes its
// client after every call; where calls run in parallel on one client, net/http
// then breaks off connections that the others have just been given.
type keptOpen struct{ client.APIClient }

// Close does nothing.
func (keptOpen) Close() error { return nil }

// answers checks that the engine of the environment answers and that its
// containers can share a folder with this process: that is how slotark reaches
// nodes that have no network.
func answers(ctx context.Context) error {
	api, err := client.New(client.FromEnv)
	if err != nil {
		return fmt.Errorf("read Docker settings: %w", err)
	}
	defer api.Close()
	if host := api.DaemonHost(); !strings.HasPrefix(host, "unix://") {
		return fmt.Errorf("the engine at %s is not on this machine", host)
	}
	asking, cancel := context.WithTimeout(ctx, detectLimit)
	defer cancel()
	if _, err := api.Ping(asking, client.PingOptions{}); err != nil {
		return err
	}
	describing, cancel := context.WithTimeout(ctx, describeLimit)
	defer cancel()
	result, err := api.Info(describing, client.InfoOptions{})
	if err != nil {
		return err
	}
	switch info := result.Info; {
	case info.OSType != "linux":
		return fmt.Errorf("the engine runs %s containers", info.OSType)
	case info.OperatingSystem == "Docker Desktop":
		return errors.New("Docker Desktop runs containers in a virtual machine, with which sockets cannot be shared")
	}
	return nil
}

// close lets go of the engine's connections.
func (e *engine) close() {
	if e != nil {
		_ = e.api.Close()
	}
}

const reaperVariable = "TESTCONTAINERS_RYUK_DISABLED"

// quiet settles, once and before testcontainers reads them, its settings that
// can be given by the environment only.
var quiet = sync.OnceFunc(func() {
	// Its reaper is an image that has to be pulled, and a container with the
	// engine's socket in it. Slotark sweeps by its own labels instead. A person
	// who wants the reaper all the same says so in the environment.
	if _, set := os.LookupEnv(reaperVariable); !set {
		_ = os.Setenv(reaperVariable, "true")
	}
	// What it prints about the engine goes to standard error, where slotark's
	// own lines are.
	tclog.SetDefault(tclog.NewNoopLogger())
})

// eventLog passes on what testcontainers says about each container.
type eventLog struct{ to *slog.Logger }

// Printf implements testcontainers' log.Logger.
func (l eventLog) Printf(format string, args ...any) {
	l.to.Debug("testcontainers", "event", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
