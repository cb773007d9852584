package main

import (
	"fmt"
	"github.com/slotark/slotark/internal/human"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/slotark/slotark/internal/progress"
	"golang.org/x/term"
)

// display draws one line for each task on a terminal and takes them away when
// the verb is done: the result says it all again, in order. Where there is no
// terminal it draws nothing.
type display struct {
	out    *os.File
	mutex  sync.Mutex
	order  []string
	tasks  map[string]progress.Event
	drawn  int // lines on the terminal
	ticker *time.Ticker
	done   chan struct{}
	ended  sync.WaitGroup
}

const redraw = 100 * time.Millisecond

// newDisplay starts drawing on out if it is a terminal and nothing forbids it.
func newDisplay(out *os.File, quiet bool) *display {
	if quiet || out == nil || !term.IsTerminal(int(out.Fd())) {
		return nil
	}
	d := &display{out: out, tasks: map[string]progress.Event{}, ticker: time.NewTicker(redraw), done: make(chan struct{})}
	d.ended.Go(func() {
		for {
			select {
			case <-d.ticker.C:
				d.draw(false)
			case <-d.done:
				return
			}
		}
	})
	return d
}

// Func is what the verbs report to; nil where nothing is drawn.
func (d *display) Func() progress.Func {
	if d == nil {
		return nil
	}
	return func(e progress.Event) {
		d.mutex.Lock()
		defer d.mutex.Unlock()
		if _, known := d.tasks[e.Task]; !known {
			d.order = append(d.order, e.Task)
		}
		d.tasks[e.Task] = e
	}
}

// Close takes the lines away.
func (d *display) Close() {
	if d == nil {
		return
	}
	d.ticker.Stop()
	close(d.done)
	d.ended.Wait()
	d.draw(true)
}

// draw writes every line anew over those that are there, the latest where
// they are more than the terminal is high.
func (d *display) draw(clear bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	columns, rows, err := term.GetSize(int(d.out.Fd()))
	if err != nil || columns < 20 {
		columns, rows = 80, 24
	}
	var out strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", d.drawn)
	}
	d.drawn = 0
	if !clear {
		for _, name := range d.order[max(0, len(d.order)-rows+1):] {
			line := []rune(taskLine(d.tasks[name]))
			out.WriteString(string(line[:min(len(line), columns-1)]) + "\n")
			d.drawn++
		}
	}
	io.WriteString(d.out, out.String())
}

const barCells = 12

// taskLine is one task: name, phase, how far, what else is known.
func taskLine(e progress.Event) string {
	parts := []string{fmt.Sprintf("  %-28s %-9s", e.Task, e.Phase)}
	switch {
	case e.Ended:
		parts = append(parts, bar(1), "100 %")
	case e.Total > 0:
		share := float64(e.Done) / float64(e.Total)
		parts = append(parts, bar(share), fmt.Sprintf("%3d %%", int(share*100)))
	}
	if e.Done > 0 {
		parts = append(parts, fmt.Sprintf("%9s", human.Size(e.Done)))
	}
	if e.Keys > 0 {
		parts = append(parts, fmt.Sprintf("%11s keys", human.Count(e.Keys)))
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	return strings.Join(parts, "  ")
}

// bar is a share as block characters, an eighth of a cell fine.
func bar(share float64) string {
	eighths := int(min(max(share, 0), 1) * barCells * 8)
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	return full + strings.Repeat(" ", barCells-width(full))
}
