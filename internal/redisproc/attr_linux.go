package redisproc

import "syscall"

// attributes tie the child's life to ours unless it is detached, and put it in
// a process group of its own: a Ctrl-C on the terminal is for us to act on, in
// our order.
func attributes(detached bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setpgid: true}
	}
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
