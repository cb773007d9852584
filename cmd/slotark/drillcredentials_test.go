package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/s3test"
)

// TestDrillCredentials drills with the credentials of a profile, whatever else there
// are: those that are good, and those that cannot read, which it names.
func TestDrillCredentials(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{Primaries: 1}, dataset.Options{Keys: 50, Seed: 15})
	server := s3test.Start(t)
	repo := server.URL(server.Bucket(t, "credentials"), "backups") + "&name=region"
	slotark(t, password, "snapshot", "--node", c.Addrs()[0], "--repo", repo).want(t, exitDone)
	c.Kill()
	file := filepath.Join(t.TempDir(), "credentials")
	text := fmt.Sprintf("[restorer]\naws_access_key_id=%s\naws_secret_access_key=%s\n[stranger]\naws_access_key_id=nobody\naws_secret_access_key=nothing-that-opens-it\n", server.AccessKey, server.SecretKey)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	drill := func(key, profile string) outcome {
		t.Helper()
		cmd := command(t.Context(), "", "drill", "--runtime", "process", "--repo", repo, "--credentials", profile)
		cmd.Env = append(cmd.Env, "AWS_SHARED_CREDENTIALS_FILE="+file, "AWS_ACCESS_KEY_ID="+key)
		return finish(t, cmd)
	}
	// The same by the configuration, which lays nothing on other commands.
	config := filepath.Join(t.TempDir(), "slotark.yaml")
	byConfig := func(profile string, args ...string) *exec.Cmd {
		t.Helper()
		settings := fmt.Sprintf("cluster:\n  nodes: [%q]\nrepository:\n  primary: %q\ndrill:\n  runtime: process\n  credentials: %s\nschedule:\n  drill: \"@every 1s\"\n", c.Addrs()[0], repo, profile)
		if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := command(t.Context(), password, append(args, "--config", config)...)
		cmd.Env = append(cmd.Env, "AWS_SHARED_CREDENTIALS_FILE="+file)
		return cmd
	}
	finish(t, byConfig("stranger", "drill")).want(t, exitFailed, "in s3://credentials/backups: access denied")
	finish(t, byConfig("stranger", "list")).want(t, exitDone, "1 of 1")
	finish(t, byConfig("nobody", "serve")).want(t, exitUsage, `no profile "nobody" in the shared AWS configuration`)
	for profile, says := range map[string]string{"restorer": "snapshot is proved", "stranger": "access denied"} {
		cmd := byConfig(profile, "serve")
		var said log
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		clustertest.Eventually(t, runLimit, func(context.Context) error {
			if !strings.Contains(said.String(), says) {
				return fmt.Errorf("serve with %s does not say %q:\n%s", profile, says, said.String())
			}
			return nil
		})
		stop(t, cmd, &said)
	}
	drill("of somebody else", "restorer").want(t, exitDone, "Proved.")
	drill(server.AccessKey, "stranger").want(t, exitFailed, "in s3://credentials/backups: access denied")
	drill(server.AccessKey, "nobody").want(t, exitUsage, `no profile "nobody" in the shared AWS configuration`)
}
