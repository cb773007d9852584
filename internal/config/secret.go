package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/slotark/slotark/internal/hint"
)

// Password reads the cluster's password from where the configuration says it
// is: now, so that a changed one is used without a restart. It is empty where
// there is none. The warning, if any, is for a person: others can read the
// file. The password is in neither the warning nor the error.
func (c Cluster) Password() (password, warning string, err error) {
	switch {
	case c.PasswordFile != "":
		return readPassword(c.PasswordFile)
	case c.PasswordEnv != "":
		password, set := os.LookupEnv(c.PasswordEnv)
		if !set {
			return "", "", hint.Add(fmt.Errorf("the environment has no %s, which is to hold the password", c.PasswordEnv),
				"set "+c.PasswordEnv+", or name a file in password_file")
		}
		return password, "", nil
	}
	return "", "", nil
}

// maxPassword is far above any password: a file that is larger was named by
// mistake.
const maxPassword = 64 << 10

func readPassword(name string) (password, warning string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", "", hint.Add(fmt.Errorf("read the password file: %w", err), "put the password in that file, or name another in password_file")
	}
	if info.Size() > maxPassword {
		return "", "", fmt.Errorf("read the password file %s: %d bytes are no password", name, info.Size())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", "", fmt.Errorf("read the password file: %w", err)
	}
	// One line end, as an editor or echo leaves it. More may belong to it.
	password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if password == "" {
		return "", "", fmt.Errorf("the password file %s is empty", name)
	}
	if info.Mode().Perm()&0o004 != 0 {
		warning = fmt.Sprintf("everyone on this machine can read the password file %s: chmod 600 it", name)
	}
	return password, warning, nil
}
