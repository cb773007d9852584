package drill

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/slotark/slotark/snapshot/manifest"
)

// owner identifies the process that runs a drill. A process id alone does not:
// it is used again, it means something else in another container, and after a
// reboot it means nothing.
type owner struct {
	host  string // short hash of host name and process id namespace
	boot  string // short hash of the kernel's boot id
	pid   int
	start uint64 // the process's start, in clock ticks since boot
}

// fate is what can be said of an owner from here.
type fate string

const (
	alive     fate = "alive"
	dead      fate = "dead"
	elsewhere fate = "elsewhere" // on another host: it cannot be seen from here
)

// self is the owner of the drills of this process.
func self() (owner, error) {
	name, err := os.Hostname()
	if err != nil {
		return owner{}, fmt.Errorf("read host name: %w", err)
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return owner{}, fmt.Errorf("read process id namespace: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return owner{}, fmt.Errorf("read boot id: %w", err)
	}
	pid := os.Getpid()
	start, _, err := processStart(pid)
	if err != nil {
		return owner{}, err
	}
	return owner{
		host: shortHash(name + " " + namespace), boot: shortHash(string(boot)),
		pid: pid, start: start,
	}, nil
}

// String is the owner as labels and folder names carry it.
func (o owner) String() string {
	return fmt.Sprintf("%s-%s-%d-%d", o.host, o.boot, o.pid, o.start)
}

var ownerPattern = regexp.MustCompile(`^([0-9a-f]{8})-([0-9a-f]{8})-(\d{1,9})-(\d{1,19})$`)

func parseOwner(text string) (owner, error) {
	parts := ownerPattern.FindStringSubmatch(text)
	if parts == nil {
		return owner{}, fmt.Errorf("parse owner %q: want HOST-BOOT-PID-START", text)
	}
	pid, errPID := strconv.Atoi(parts[3])
	start, errStart := strconv.ParseUint(parts[4], 10, 64)
	return owner{parts[1], parts[2], pid, start}, errors.Join(errPID, errStart)
}

// fate tells whether the owner still runs. In doubt it does: a leftover costs
// some memory, a live drill swept away costs a night's proof.
func (o owner) fate(here owner) fate {
	if o.host != here.host {
		return elsewhere
	}
	if o.boot != here.boot {
		return dead
	}
	start, running, err := processStart(o.pid)
	if errors.Is(err, os.ErrNotExist) {
		// Another user's process may be hidden from /proc; only the kernel's
		// "no such process" proves that it is gone.
		if errors.Is(syscall.Kill(o.pid, 0), syscall.ESRCH) {
			return dead
		}
		return alive
	}
	if err == nil && (!running || start != o.start) {
		return dead
	}
	return alive
}

// processStart reads when a process started, and whether it is more than a
// zombie, from /proc/PID/stat (proc(5)). The name, the second field, may hold
// anything, so fields are counted from its closing bracket.
func processStart(pid int) (start uint64, running bool, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, fmt.Errorf("read process %d: %w", pid, err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, false, fmt.Errorf("read process %d: its stat has %d fields", pid, len(fields))
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("read process %d: %w", pid, err)
	}
	return start, fields[0] != "Z" && fields[0] != "X", nil
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// running are the drills of this process that have not ended. What this process
// left after a drill whose tear-down failed is thereby told from what one of
// its other drills is using: `slotark serve` lives for months.
var running = &register{ids: map[manifest.ID]bool{}}

type register struct {
	mu  sync.Mutex
	ids map[manifest.ID]bool
}

func (r *register) begin(id manifest.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[id] = true
}

func (r *register) end(id manifest.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, id)
}

func (r *register) has(id manifest.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[id]
}

// abandoned tells whether what an owner made for a drill may be removed.
func abandoned(by owner, id manifest.ID, here owner) bool {
	if by == here {
		return !running.has(id)
	}
	return by.fate(here) == dead
}
