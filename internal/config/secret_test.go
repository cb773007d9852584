package config_test

import (
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/config"
)

func TestPasswordFile(t *testing.T) {
	for text, want := range map[string]string{
		"secret": "secret", "secret\n": "secret", "secret\r\n": "secret", "secret\n\n": "secret\n", " se cret ": " se cret ",
	} {
		c := config.Cluster{PasswordFile: write(t, "password", text, 0o640)}
		if got, warning, err := c.Password(); got != want || warning != "" || err != nil {
			t.Errorf("%q gave %q, %q, %v", text, got, warning, err)
		}
	}
}

func TestPasswordFileOpenToAll(t *testing.T) {
	c := config.Cluster{PasswordFile: write(t, "password", "hunter2", 0o644)}
	got, warning, err := c.Password()
	if got != "hunter2" || err != nil || !strings.Contains(warning, "chmod 600") || strings.Contains(warning, "hunter2") {
		t.Errorf("got %q, %q, %v", got, warning, err)
	}
}

func TestPasswordThatIsNotThere(t *testing.T) {
	for name, c := range map[string]config.Cluster{
		"no file":     {PasswordFile: t.TempDir() + "/none"},
		"a folder":    {PasswordFile: t.TempDir()},
		"empty":       {PasswordFile: write(t, "password", "\n", 0o600)},
		"far too big": {PasswordFile: write(t, "password", strings.Repeat("x", 1<<17), 0o600)},
		"no variable": {PasswordEnv: "SLOTARK_TEST_NO_SUCH_VARIABLE"},
	} {
		if got, _, err := c.Password(); err == nil || got != "" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestPasswordFromTheEnvironment(t *testing.T) {
	t.Setenv("SLOTARK_TEST_PASSWORD", "hunter2")
	c := config.Cluster{PasswordEnv: "SLOTARK_TEST_PASSWORD"}
	if got, warning, err := c.Password(); got != "hunter2" || warning != "" || err != nil {
		t.Errorf("got %q, %q, %v", got, warning, err)
	}
	if got, warning, err := (config.Cluster{}).Password(); got+warning != "" || err != nil {
		t.Errorf("no password at all gave %q, %q, %v", got, warning, err)
	}
}
