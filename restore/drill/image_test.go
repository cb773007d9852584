package drill

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/servertest"
	"github.com/slotark/slotark/snapshot/manifest"
)

func TestParseLibraries(t *testing.T) {
	for name, test := range map[string]struct {
		out  string
		want []string
		err  string
	}{
		"glibc": {
			out: "\tlinux-vdso.so.1 (0x00007ff5a0441000)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007ff5a0340000)\n" +
				"\t/lib64/ld-linux-x86-64.so.2 (0x00007ff5a0443000)\n",
			want: []string{"/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"},
		},
		"musl": {
			out:  "\t/lib/ld-musl-x86_64.so.1 (0x7f01)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f01)\n",
			want: []string{"/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1"},
		},
		"missing": {out: "\tliblzf.so.1 => not found\n", err: "liblzf.so.1 => not found"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseLibraries("redis-server", strings.NewReader(test.out))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestOfficialImage(t *testing.T) {
	for _, test := range []struct{ engine, version, want string }{
		{"redis", "7.0.15", "redis:7.0.15"},
		{"valkey", "9.1.0", "valkey/valkey:9.1.0"},
	} {
		if got := officialImage(manifest.Server{Engine: test.engine, Version: test.version}); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

func TestOlderSeries(t *testing.T) {
	for _, test := range []struct {
		installed, snapshot string
		want                bool
	}{
		{"7.0.15", "7.0.15", false}, {"7.0.1", "7.0.15", false}, {"7.2.0", "7.0.15", false},
		{"8.0.0", "7.4.1", false}, {"7.0.15", "7.2.0", true}, {"7.4.9", "8.0.0", true}, {"7.0.15", "", false},
	} {
		if got := olderSeries(test.installed, test.snapshot); got != test.want {
			t.Errorf("%s for a snapshot of %s: %v", test.installed, test.snapshot, got)
		}
	}
}

func TestParseRuntime(t *testing.T) {
	for text, want := range map[string]Runtime{"": Auto, "auto": Auto, "docker": Docker, "process": Process} {
		if got, err := ParseRuntime(text); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if _, err := ParseRuntime("podman"); err == nil {
		t.Error("podman was accepted")
	}
}

// Where nothing answers, docker is refused with what to do, and auto drills in
// processes.
func TestNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
	_, err := testPlace(t.Context(), Docker)
	if !errors.Is(err, ErrNoEngine) || len(hint.Of(err)) == 0 {
		t.Errorf("docker: %v, hints %q", err, hint.Of(err))
	}
	p, err := testPlace(t.Context(), Auto)
	if err != nil || p.runtime != Process {
		t.Fatalf("auto: %+v, %v", p, err)
	}
	p.close()
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
	if _, err := testPlace(t.Context(), Docker); !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("an engine elsewhere: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("DOCKER_HOST", "")
	if _, err := findPlace(cancelled, Auto, discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestImageNeedsContainers(t *testing.T) {
	p := &place{runtime: Process}
	if err := p.choose(t.Context(), "redis:8.0", "", testServer); !errors.Is(err, errImageInProcesses) {
		t.Errorf("an image for processes: %v", err)
	}
}

func TestLocalImageIsMadeOnce(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	first, err := p.engine.api.ImageInspect(t.Context(), p.image.name)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.engine.findImage(t.Context(), "", testServer)
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.engine.api.ImageInspect(t.Context(), again.name)
	if err != nil {
		t.Fatal(err)
	}
	if again != p.image || first.ID != second.ID {
		t.Errorf("%+v %s, then %+v %s", p.image, first.ID, again, second.ID)
	}
	t.Logf("%s, %d bytes", again.name, second.Size)
	named, err := p.engine.findImage(t.Context(), again.name, manifest.Server{Engine: "valkey", Version: "9.0.0"})
	if err != nil || named != again {
		t.Errorf("asked for by name: %+v, %v", named, err)
	}
}

// Official images expose a port and ask for a volume. Neither may leave
// anything open or behind.
func TestImageThatExposesPortsAndVolumes(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	binary, _, _ := installed(testServer)
	files, err := imageFiles(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	o := newTestOrder(t, t.TempDir())
	name := "slotark-test:" + strings.ToLower(string(o.id))
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(files.writeTar(writer)) }()
	result, err := p.engine.api.ImageImport(t.Context(), client.ImageImportSource{Source: reader, SourceName: "-"}, name,
		client.ImageImportOptions{Changes: []string{"EXPOSE 6379", "VOLUME /data", `ENTRYPOINT ["redis-cli"]`, `CMD ["redis-server"]`}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, result)
	result.Close()
	t.Cleanup(func() {
		if _, err := p.engine.api.ImageRemove(context.Background(), name, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})

	exposing := *p
	if err := exposing.choose(t.Context(), name, "", testServer); err != nil {
		t.Fatal(err)
	}
	s := provision(t, &exposing, o).(*containers)
	var volumes []string
	for _, node := range s.nodes {
		got, err := node.ctr.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for port, bindings := range got.NetworkSettings.Ports {
			if len(bindings) > 0 {
				t.Errorf("%s publishes %s: %v", node.name, port, bindings)
			}
		}
		for _, m := range got.Mounts {
			if m.Name != "" {
				volumes = append(volumes, m.Name)
			}
		}
	}
	if len(volumes) != len(s.nodes) {
		t.Fatalf("%d volumes for %d nodes: the image does not ask for them", len(volumes), len(s.nodes))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, volume := range volumes {
		if _, err := p.engine.api.VolumeInspect(t.Context(), volume, client.VolumeInspectOptions{}); err == nil {
			t.Errorf("volume %s is left", volume)
		}
	}
}

func TestMissingImageHasAHint(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	// A closed port of this machine, so that the answer comes at once.
	_, err := p.engine.findImage(t.Context(), "127.0.0.1:1/no/such:1", testServer)
	if err == nil || len(hint.Of(err)) == 0 {
		t.Errorf("%v, hints %q", err, hint.Of(err))
	}
}

// Local processes run the server that was asked for, and say so where there is
// none.
func TestProgramOfProcesses(t *testing.T) {
	for _, server := range servertest.Unpacked(t) {
		p := &place{runtime: Process}
		if err := p.choose(t.Context(), "", server.Binary, testServer); err != nil || p.binary != server.Binary {
			t.Errorf("%s: %s, %v", server.Binary, p.binary, err)
		}
	}
	for _, wrong := range []string{"no-such-server", "/bin/true"} {
		p := &place{runtime: Process}
		if err := p.choose(t.Context(), "", wrong, testServer); err == nil || len(hint.Of(err)) == 0 {
			t.Errorf("%s was taken: %v", wrong, err)
		}
	}
	if err := (&place{runtime: Docker}).choose(t.Context(), "", "redis-server", testServer); !errors.Is(err, errProgramInContainers) {
		t.Errorf("a program in containers: %v", err)
	}
}

// Unless an image is named, the image is of the snapshot's own version.
func TestOwnImage(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	older := testServer
	older.Version = "6.2.0"
	there := "registry.example:5000/team/redis:" + testServer.Version
	if _, err := p.engine.api.ImageTag(t.Context(), client.ImageTagOptions{Source: p.image.name, Target: there}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.engine.api.ImageRemove(context.Background(), there, client.ImageRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	// A closed port of this machine, so that the answer comes at once.
	const nowhere = "127.0.0.1:1/no/such:1"
	for name, test := range map[string]struct {
		official string
		server   manifest.Server
		want     string
		warned   bool
	}{
		"the engine has it":                             {there, older, there, false},
		"and the same is installed":                     {there, testServer, there, false},
		"the same is installed":                         {nowhere, testServer, p.image.name, false},
		"no registry has it, a later one is installed":  {nowhere, older, p.image.name, true},
		"no version is known, as of an early manifest":  {nowhere, manifest.Server{Engine: "redis"}, p.image.name, false},
		"no registry has it, an older one is installed": {nowhere, manifest.Server{Engine: "redis", Version: "99.0.0"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			engine := *p.engine
			engine.log = slog.New(slog.NewTextHandler(&log, nil))
			got, err := engine.ownImage(t.Context(), test.official, test.server)
			if got.name != test.want || (err != nil) != (test.want == "") || err != nil && len(hint.Of(err)) == 0 {
				t.Errorf("%+v, %v; want %q", got, err, test.want)
			}
			if warned := strings.Contains(log.String(), "snapshot=6.2.0"); warned != test.warned {
				t.Errorf("it says: %s", &log)
			}
		})
	}
}

// Where the installed server does not suit, the image is the one that the engine's
// project publishes for the snapshot's version; and an image of a private registry
// goes by its whole name. Neither is pulled where it is there already.
func TestImageByName(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	valkey := servertest.Unpacked(t)[2]
	future := manifest.Server{Engine: "valkey", Version: "99.1.2"} // which is installed nowhere
	private := "registry.example:5000/team/valkey:of-test"
	for _, name := range []string{officialImage(future), private} {
		if _, err := p.engine.api.ImageTag(t.Context(), client.ImageTagOptions{Source: valkey.Image(), Target: name}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := p.engine.api.ImageRemove(context.Background(), name, client.ImageRemoveOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	for wanted, want := range map[string]image{
		"":      {"valkey/valkey:99.1.2", "valkey-server"},
		private: {private, "valkey-server"},
	} {
		if got, err := p.engine.findImage(t.Context(), wanted, future); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", wanted, got, err, want)
		}
	}
}
