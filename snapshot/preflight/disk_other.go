//go:build !(linux || darwin || freebsd)

package preflight

// FreeBytes is not seen on this system.
func FreeBytes(string) (int64, bool) { return 0, false }
