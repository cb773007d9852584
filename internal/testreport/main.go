package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	// A Ctrl-C reaches `go test` too, as one of the same terminal. It is left
	// to end first, so that what it still says is shown.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)

	ok, err := run(os.Stdout, os.Getenv("CI") == "true", os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// run runs `go test -json` and reports on its events as they come.
func run(out io.Writer, skipIsFailure bool, args []string) (ok bool, err error) {
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
	readErr := r.read(events)
	waitErr := test.Wait()
	ok = r.close(waitErr, skipIsFailure)

	var exit *exec.ExitError
	if errors.As(waitErr, &exit) { // the report has said it
		waitErr = nil
	}
	return ok, errors.Join(readErr, waitErr)
}
