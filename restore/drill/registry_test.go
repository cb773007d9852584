package drill

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	"golang.org/x/crypto/bcrypt"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/internal/redisproc"
	"github.com/slotark/slotark/internal/servertest"
)

// Who may pull from the registry of the tests.
const (
	registryUser     = "puller"
	registryPassword = "opens-only-the-registry-of-a-test"
	wrongPassword    = "opens-nothing-at-all"
)

// TestPrivateRegistry drills with an image that only a registry has, which wants a
// password: with what `docker login` wrote of it, without, and with a wrong one.
func TestPrivateRegistry(t *testing.T) {
	p, ok := requireEngine(t)
	if !ok {
		return
	}
	private(t)
	host := startRegistry(t)
	server := servertest.Unpacked(t)[1] // Redis 8.0
	name := host + "/redis:" + server.Version
	push(t, p, server.Image(), name)
	source, _ := takeSnapshot(t)

	for what, auth := range map[string]string{"nothing": "", "a wrong password": registryUser + ":" + wrongPassword} {
		logIn(t, host, auth)
		_, err := Run(t.Context(), Options{Snapshot: source, Runtime: Docker, Image: name})
		if err == nil || !strings.HasPrefix(err.Error(), "pull image "+name+": ") || strings.Contains(err.Error(), "\n") ||
			!strings.Contains(strings.Join(hint.Of(err), " "), "docker login "+host) || strings.Contains(fmt.Sprint(err, hint.Of(err)), wrongPassword) {
			t.Errorf("with %s: %v, hints %q", what, err, hint.Of(err))
		}
	}

	logIn(t, host, registryUser+":"+registryPassword)
	t.Cleanup(func() {
		if _, err := p.engine.api.ImageRemove(context.Background(), name, client.ImageRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	report, err := Run(t.Context(), Options{Snapshot: source, Runtime: Docker, Image: name})
	if err != nil || !report.Proved || report.Image != name || report.ServerVersion != server.Version {
		t.Fatalf("%+v, %v", report, err)
	}
	text, err := json.Marshal(report)
	if err != nil || strings.Contains(string(text), registryPassword) {
		t.Errorf("the evidence holds the password: %s, %v", text, err)
	}
	nothingLeft(t, p)
}

// startRegistry starts a registry on loopback, which engines take without TLS, and
// returns its host and port.
func startRegistry(t *testing.T) string {
	t.Helper()
	ports, err := redisproc.FreePorts("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	host, root := fmt.Sprintf("127.0.0.1:%d", ports[0]), t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(registryPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nauth: {htpasswd: {realm: test, path: %q}}\n",
		filepath.Join(root, "images"), host, filepath.Join(root, "htpasswd"))
	for file, text := range map[string]string{"htpasswd": registryUser + ":" + string(hash) + "\n", "config.yml": settings} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Not ended by the test's context, which is gone when the image is removed.
	cmd := exec.Command(servertest.Registry(t), "serve", filepath.Join(root, "config.yml"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // that it was killed
		if t.Failed() {
			t.Logf("the registry said: %s", &said)
		}
	})
	clustertest.Eventually(t, 10*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if answer.Body.Close(); answer.StatusCode != http.StatusUnauthorized {
			return errors.New(answer.Status)
		}
		return nil
	})
	return host
}

// push gives a registry an image, and takes its name there from the engine.
func push(t *testing.T, p *place, image, name string) {
	t.Helper()
	api := p.engine.api
	if _, err := api.ImageTag(t.Context(), client.ImageTagOptions{Source: image, Target: name}); err != nil {
		t.Fatal(err)
	}
	auth, err := authconfig.Encode(registry.AuthConfig{Username: registryUser, Password: registryPassword})
	if err != nil {
		t.Fatal(err)
	}
	pushing, err := api.ImagePush(t.Context(), name, client.ImagePushOptions{RegistryAuth: auth})
	if err == nil {
		err = errors.Join(pushing.Wait(t.Context()), pushing.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ImageRemove(t.Context(), name, client.ImageRemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}

// logIn leaves what `docker login` writes; "" is nobody.
func logIn(t *testing.T, host, auth string) {
	t.Helper()
	dir, config := t.TempDir(), map[string]any{}
	if auth != "" {
		config["auths"] = map[string]any{host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(auth))}}
	}
	text, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}
