package redisproc

import (
	"os/exec"
	"runtime"
	"sync"
)

// Pdeathsig fires when the thread that forked the child ends, not when the
// process does, and the Go runtime ends threads as it sees fit. So children are
// forked by one goroutine that is locked to its thread and lives as long as the
// process. It is the one goroutine nobody waits for.
var starter = sync.OnceValue(func() chan<- startRequest {
	requests := make(chan startRequest)
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request.started <- request.command.Start()
		}
	}()
	return requests
})

type startRequest struct {
	command *exec.Cmd
	started chan error
}

// start forks a command from the starter's thread.
func start(command *exec.Cmd) error {
	request := startRequest{command, make(chan error, 1)}
	starter() <- request
	return <-request.started
}
