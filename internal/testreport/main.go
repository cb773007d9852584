package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	// A Ctrl-C reaches `go test` too, as one of the same terminal. It is left
	// to end first, so that what it still says is shown.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)

	ok, err := run(os.Stdout, os.Getenv("CI") == "true", strings.Fields(os.Getenv(failedVariable)), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// failedVariable names what failed before, beside `go test`: it is counted.
const failedVariable = "TESTREPORT_FAILED"

// run runs `go test -json` and reports on its events as they come, and on what
// failed before.
func run(out io.Writer, skipIsFailure bool, failedBefore, args []string) (ok bool, err error) {
	test := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	test.Stderr = os.Stderr
	events, err := test.StdoutPipe()
	if err != nil {
		return false, fmt.Errorf("open a pipe to go test: %w", err)
	}
	if err := test.Start(); err != nil {
		return false, fmt.Errorf("start go test: %w", err)
	}
	r := newReport(out)
	r.failedBefore = failedBefore
	readErr := r.read(events)
	waitErr := test.Wait()
	ok = r.close(waitErr, skipIsFailure)

	var exit *exec.ExitError
	if errors.As(waitErr, &exit) { // the report has said it
		waitErr = nil
	}
	return ok, errors.Join(readErr, waitErr)
}
