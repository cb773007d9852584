package preflight

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/cluster"
)

// machine is what can be seen of the machine this program runs on. On other
// systems than Linux these files are not there, and nothing is seen.
type machine struct {
	root string                               // where /proc and /sys are
	free func(path string) (n int64, ok bool) // bytes free for who is not root, on the disk of a folder
}

func (m *machine) text(path string) string {
	text, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// runs tells whether a node is a process of this machine, and not only reached
// through an address of it, as through a tunnel or out of a container: there is
// a process with its id, whose title names its port or its program.
func (m *machine) runs(access *cluster.Access, n *node) bool {
	pid, port := n.info.Text("process_id"), n.info.Text("tcp_port")
	if pid == "" || !access.Local(n.Addr) {
		return false
	}
	title := strings.ReplaceAll(m.text("proc/"+pid+"/cmdline"), "\x00", " ")
	program := filepath.Base(n.info.Text("executable"))
	return port != "" && strings.Contains(title, ":"+port+" ") || program != "." && strings.Contains(title, program)
}

// availableBytes is the memory that programs can still have; 0 where it cannot
// be seen.
func (m *machine) availableBytes() int64 {
	for line := range strings.Lines(m.text("proc/meminfo")) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "MemAvailable:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10 // in kB, by which it means KiB
		}
	}
	return 0
}

// overcommit is vm.overcommit_memory: "0" by guess, "1" always, "2" never.
func (m *machine) overcommit() string { return m.text("proc/sys/vm/overcommit_memory") }

// hugePages tells whether every memory is given in huge pages.
func (m *machine) hugePages() bool {
	return strings.Contains(m.text("sys/kernel/mm/transparent_hugepage/enabled"), "[always]")
}
