//go:build !(linux || darwin || freebsd)

package preflight

// freeBytes is not seen on this system.
func freeBytes(string) (int64, bool) { return 0, false }
