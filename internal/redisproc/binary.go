package redisproc

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/hint"
)

// ErrNoBinary is returned where neither redis-server nor valkey-server is
// installed.
var ErrNoBinary = errors.New("no redis-server or valkey-server found")

// versionLimit bounds `redis-server --version`, which does no work.
const versionLimit = 10 * time.Second

// Find returns the server binary on PATH: redis-server, else valkey-server.
func Find() (binary string, err error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", hint.Add(ErrNoBinary, "Install redis-server or valkey-server, or name the binary to use.")
}

// "Redis server v=7.0.15 sha=…", "Valkey server v=8.0.1 sha=…"
var versionLine = regexp.MustCompile(`^(Redis|Valkey) server v=(\S+)`)

// Version asks a binary which engine, "redis" or "valkey", and which version
// it is; "" asks what [Find] finds.
func Version(binary string) (engine, version string, err error) {
	if binary == "" {
		if binary, err = Find(); err != nil {
			return "", "", err
		}
	}
	var out strings.Builder
	command := exec.Command(binary, "--version")
	command.Stdout = &out
	command.SysProcAttr = attributes(false)
	command.WaitDelay = time.Second
	if err := start(command); err != nil {
		return "", "", fmt.Errorf("run %s --version: %w", binary, err)
	}
	timer := time.AfterFunc(versionLimit, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	if err := command.Wait(); err != nil {
		return "", "", fmt.Errorf("run %s --version: %w", binary, err)
	}
	match := versionLine.FindStringSubmatch(out.String())
	if match == nil {
		return "", "", fmt.Errorf("run %s --version: %.80q names no Redis or Valkey", binary, out.String())
	}
	return strings.ToLower(match[1]), match[2], nil
}
