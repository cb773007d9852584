package redisproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	configName = "redis.conf"
	logName    = "redis.log"
)

// writeConfig writes the configuration file with all that must not be seen in
// the arguments. It replaces the one an earlier process in this folder had.
func writeConfig(o Options, port int) (path string, err error) {
	lines := [][]string{
		{"bind", o.Host},
		{"dir", o.Dir},
		{"logfile", filepath.Join(o.Dir, logName)},
		{"daemonize", "no"},
	}
	plain, secure := port, 0
	if o.TLS != nil {
		plain, secure = 0, port
		lines = append(lines,
			[]string{"tls-port", strconv.Itoa(secure)},
			[]string{"tls-ca-cert-file", o.TLS.CA},
			[]string{"tls-cert-file", o.TLS.Cert},
			[]string{"tls-key-file", o.TLS.Key},
			[]string{"tls-auth-clients", "optional"},
			[]string{"tls-replication", "yes"},
			[]string{"tls-cluster", "yes"},
		)
	}
	lines = append(lines, []string{"port", strconv.Itoa(plain)})
	if o.Password != "" {
		// A primary of today is a replica after a failover: both directions.
		lines = append(lines, []string{"requirepass", o.Password}, []string{"masterauth", o.Password})
	}
	if o.Announce.Host != "" {
		lines = append(lines, []string{"cluster-announce-ip", o.Announce.Host})
	}
	if o.Announce.Port != 0 {
		name := "cluster-announce-port"
		if o.TLS != nil {
			name = "cluster-announce-tls-port"
		}
		lines = append(lines, []string{name, strconv.Itoa(o.Announce.Port)})
	}
	if o.Announce.BusPort != 0 {
		lines = append(lines, []string{"cluster-announce-bus-port", strconv.Itoa(o.Announce.BusPort)})
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(line[0])
		for _, value := range line[1:] {
			text.WriteString(" " + quote(value))
		}
		text.WriteString("\n")
	}
	for _, line := range o.Config {
		text.WriteString(line + "\n")
	}
	path = filepath.Join(o.Dir, configName)
	// Removed first: an existing file would keep its mode, whatever it is.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return "", fmt.Errorf("replace configuration: %w", err)
	}
	// private: written anew for each start, whose server is its only reader.
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// quote writes a value the way sdssplitargs reads it back, whatever bytes it
// holds.
func quote(value string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, b := range []byte(value) {
		switch {
		case b == '"' || b == '\\':
			out.WriteByte('\\')
			out.WriteByte(b)
		case b < ' ' || b > '~':
			fmt.Fprintf(&out, `\x%02x`, b)
		default:
			out.WriteByte(b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
