package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/snapshot/manifest"
)

// image is what a container sandbox runs.
type image struct {
	name   string // as people know it: "redis:7.0.15"
	server string // the program to start in it: "redis-server"
}

// localRepository names the images made here. They are kept: a drill a night
// makes one per version of the installed server.
const localRepository = "slotark-drill"

// importing lets one drill of this process at a time make the local image, so
// that two that begin together do not both.
var importing sync.Mutex

// findImage returns the image to drill with, present in the engine: the one
// that was asked for, else one of the snapshot's own version.
func (e *engine) findImage(ctx context.Context, wanted string, server manifest.Server) (image, error) {
	if wanted != "" {
		return e.ensureImage(ctx, wanted, server.Engine)
	}
	return e.ownImage(ctx, officialImage(server), server)
}

// ownImage returns an image of the snapshot's own version: the official one where
// the engine has it, else one made from the installed server if that is of this
// very version, else the official one, pulled. Where that cannot be had, an installed
// server that reads the snapshot is better than no drill: what it changes is in the
// report.
func (e *engine) ownImage(ctx context.Context, official string, server manifest.Server) (image, error) {
	binary, version, suits := installed(server)
	if !suits {
		return e.ensureImage(ctx, official, server.Engine)
	}
	if _, err := e.api.ImageInspect(ctx, official); err == nil || server.Version != "" && server.Version != version {
		found, err := e.ensureImage(ctx, official, server.Engine)
		if err == nil || ctx.Err() != nil {
			return found, err
		}
		e.log.Warn("drilling with the installed server, not the snapshot's own version", "snapshot", server.Version, "installed", version, "reason", err)
	}
	return e.localImage(ctx, binary, server.Engine, version)
}

// installed returns the server on this machine, where it is of the snapshot's
// engine and not older: a server reads the dumps of its past, not of its
// future.
func installed(server manifest.Server) (binary, version string, ok bool) {
	binary, err := exec.LookPath(server.Engine + "-server")
	if err != nil {
		return "", "", false
	}
	engine, version, err := redisproc.Version(binary)
	if err != nil || engine != server.Engine || olderSeries(version, server.Version) {
		return "", "", false
	}
	return binary, version, true
}

// olderSeries compares the first two numbers of two versions: a dump's format
// never changes within a series.
func olderSeries(a, b string) bool {
	majorA, minorA := series(a)
	majorB, minorB := series(b)
	return majorA < majorB || majorA == majorB && minorA < minorB
}

func series(version string) (major, minor int) {
	parts := strings.SplitN(version, ".", 3)
	major, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(parts[1])
	}
	return major, minor
}

// officialImage is the image that each project publishes for a version.
func officialImage(server manifest.Server) string {
	if server.Engine == "valkey" {
		return "valkey/valkey:" + server.Version
	}
	return "redis:" + server.Version
}

// localImage makes an image of the installed server, or finds the one made of
// the same files before.
func (e *engine) localImage(ctx context.Context, binary, engineName, version string) (image, error) {
	importing.Lock()
	defer importing.Unlock()
	files, err := imageFiles(ctx, binary)
	if err != nil {
		return image{}, err
	}
	digest, err := files.digest()
	if err != nil {
		return image{}, err
	}
	made := image{
		name:   fmt.Sprintf("%s:%s-%s-%s", localRepository, engineName, version, digest[:12]),
		server: path.Base(binary),
	}
	if _, err := e.api.ImageInspect(ctx, made.name); err == nil {
		return made, nil
	} else if !errdefs.IsNotFound(err) {
		return image{}, fmt.Errorf("inspect image %s: %w", made.name, err)
	}
	return made, e.importImage(ctx, made, files)
}

// importImage streams the files into the engine as an image of one layer.
func (e *engine) importImage(ctx context.Context, made image, files fileSet) error {
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := files.writeTar(writer)
		_ = writer.CloseWithError(err)
		sent <- err
	}()
	result, err := e.api.ImageImport(ctx,
		client.ImageImportSource{Source: reader, SourceName: "-"}, made.name,
		client.ImageImportOptions{
			Message: "made by slotark from the installed " + made.server,
			Changes: []string{
				fmt.Sprintf("CMD [%q]", made.server),
				fmt.Sprintf("LABEL %s=%q", labelImage, made.server),
			},
		})
	if err == nil {
		_, err = io.Copy(io.Discard, result)
		err = errors.Join(err, result.Close())
	}
	// An engine that gave up reading would leave the writer waiting for ever.
	_ = reader.CloseWithError(io.ErrClosedPipe)
	if tarErr := <-sent; tarErr != nil && !errors.Is(tarErr, io.ErrClosedPipe) {
		err = errors.Join(tarErr, err)
	}
	if err != nil {
		return fmt.Errorf("import image %s: %w", made.name, err)
	}
	// The engine reports a failed import in a body that says 200; only asking
	// tells.
	if _, err := e.api.ImageInspect(ctx, made.name); err != nil {
		return fmt.Errorf("import image %s: %w", made.name, err)
	}
	return nil
}

// pullLimit bounds fetching an image. Without it a registry that does not
// answer holds the night's drill until the next one.
const pullLimit = 10 * time.Minute

// ensureImage returns a named image, fetching it where it is not present.
func (e *engine) ensureImage(ctx context.Context, name, engineName string) (image, error) {
	inspected, err := e.api.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		if err := e.pull(ctx, name); err != nil {
			return image{}, hint.Add(fmt.Errorf("pull image %s: %w", name, err), pullHint(name, err))
		}
		inspected, err = e.api.ImageInspect(ctx, name)
	}
	if err != nil {
		return image{}, fmt.Errorf("inspect image %s: %w", name, err)
	}
	found := image{name: name, server: engineName + "-server"}
	// The image knows its program better than the snapshot does: a Redis dump
	// can be rehearsed on Valkey.
	if config := inspected.Config; config != nil && len(config.Cmd) > 0 {
		if program := path.Base(config.Cmd[0]); program == "redis-server" || program == "valkey-server" {
			found.server = program
		}
	}
	return found, nil
}

// pullHint says what to do about an image that cannot be pulled. Engines pass on a
// registry's words, and not always its code; and many registries do not tell a wrong
// password from an image that is not there.
func pullHint(name string, err error) string {
	others := "load it into the engine (docker load), name another with --image, or drill in local processes with --runtime process"
	refused := errdefs.IsUnauthorized(err) || errdefs.IsPermissionDenied(err)
	for _, words := range []string{"unauthorized", "no basic auth credentials", "authentication", "denied"} {
		refused = refused || strings.Contains(strings.ToLower(err.Error()), words)
	}
	if !refused {
		return others
	}
	login := "docker login"
	if registry, _, _ := strings.Cut(name, "/"); strings.ContainsAny(registry, ".:") && registry != name {
		login += " " + registry
	}
	return "where the registry wants a password, say " + login + " as the user who runs slotark; or " + others
}

func (e *engine) pull(ctx context.Context, name string) error {
	limited, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	var options client.ImagePullOptions
	// The credentials of `docker login`, where there are any for this registry.
	if _, auth, err := testcontainers.DockerImageAuth(limited, name); err == nil {
		if options.RegistryAuth, err = authconfig.Encode(auth); err != nil {
			return err
		}
	}
	pulling, err := e.api.ImagePull(limited, name, options)
	if err != nil {
		return err
	}
	return errors.Join(pulling.Wait(limited), pulling.Close())
}
