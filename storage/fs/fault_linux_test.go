package fs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/storagetest"
)

const tmpfsVariable = "SLOTARK_TEST_TMPFS"

// inNamespace runs the calling test again in a process with a mount namespace
// of its own, where it may mount: a full disk is then a really full disk.
// In that process it returns the folder to mount at, else "".
func inNamespace(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(tmpfsVariable); dir != "" {
		// Nothing that is mounted here may reach the machine's own view.
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatalf("make mounts private: %v", err)
		}
		return dir
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), tmpfsVariable+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a mount namespace (it needs root or user namespaces): %v\n%s", err, out)
	}
	return ""
}

func TestDiskFull(t *testing.T) {
	dir := inNamespace(t)
	if dir == "" {
		return
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	s := fs.Open(filepath.Join(dir, "store"))
	storagetest.Put(t, s, "small", []byte("x"))
	_, err := s.Put(t.Context(), "prod/large", strings.NewReader(strings.Repeat("x", 2<<20)))
	if !errors.Is(err, storage.ErrFull) || len(hint.Of(err)) == 0 {
		t.Errorf("got %v, want ErrFull with a hint", err)
	}
	entries, readErr := os.ReadDir(filepath.Join(dir, "store"))
	if readErr != nil || len(entries) != 1 {
		t.Errorf("the full disk keeps %v (%v)", entries, readErr)
	}
	// The room is given back: the next small object fits again.
	storagetest.Put(t, s, "next", []byte("y"))
}

func TestReadOnlyDisk(t *testing.T) {
	dir := inNamespace(t)
	if dir == "" {
		return
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := fs.Open(dir).Put(t.Context(), "a", strings.NewReader("x"))
	if !errors.Is(err, storage.ErrDenied) || len(hint.Of(err)) == 0 {
		t.Errorf("got %v, want ErrDenied with a hint", err)
	}
}

func TestNoPermission(t *testing.T) {
	root := t.TempDir()
	s := fs.Open(root)
	storagetest.Put(t, s, "a/there", []byte("x"))
	if err := os.Chmod(filepath.Join(root, "a"), 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan map[string]error)
	go func() {
		// Modes do not hold root back. Its thread takes another user's id for
		// file access and ends with the goroutine, because it stays locked.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0) // it reports no errors
		}
		_, putErr := s.Put(t.Context(), "a/b", strings.NewReader("x"))
		_, openErr := s.Open(t.Context(), "a/there")
		var listErr error
		for _, err := range s.List(t.Context(), "a/") {
			listErr = err
		}
		done <- map[string]error{"put": putErr, "open": openErr, "list": listErr}
	}()
	for verb, err := range <-done {
		if !errors.Is(err, storage.ErrDenied) || len(hint.Of(err)) == 0 {
			t.Errorf("%s: %v, want ErrDenied with a hint", verb, err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
}
