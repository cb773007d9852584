package agent

import (
	"os"
	"strings"
)

// bootID is the same for all containers of one Linux kernel, whatever they call
// their host, and another at each boot.
const bootID = "/proc/sys/kernel/random/boot_id"

// Machine names the machine that this runs on; "" where it has no name that
// everybody on it agrees on.
func Machine() string {
	text, err := os.ReadFile(bootID)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
