package collect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

// ErrCannotSave is returned when a node has tried to save and could not: its
// disk is full, or it had no memory to fork.
var ErrCannotSave = errors.New("the node could not save")

const (
	pollFirst = 20 * time.Millisecond
	// pollMost is little beside what a node takes to notice itself that its child
	// has ended: it looks ten times a second. With a second here a save of two
	// could be seen to have ended 0.7 seconds late, and the next fork waits for it.
	pollMost = 200 * time.Millisecond
	// schedulePoll is how often a node is looked at that will save when its
	// rewrite has ended: as exact is the instant of its fork known. It is also how
	// often one is asked to save that is busy with somebody else's save: who is
	// slower might never find the gap before the next.
	schedulePoll = 100 * time.Millisecond
	// lostSchedule is how long a node without a child may not begin a save that
	// it has scheduled. It begins one within a tenth of a second, but for five
	// after one that failed (CONFIG_BGSAVE_RETRY_DELAY).
	lostSchedule = 15 * time.Second
)

// trigger starts a save. Another save in its way, of the server's own or of
// somebody else, is waited for and never taken for ours. Behind a rewrite of the
// append-only file the server is told to save as soon as that has ended: a loop
// of requests could miss the gap before the next one.
func (s *saving) trigger(ctx context.Context) (*Source, error) {
	for {
		source, err := s.evidence(ctx)
		if err != nil {
			return nil, err
		}
		err = s.save(ctx)
		// The fork is done inside the command, so between its request and its
		// reply is the instant of the dump.
		source.Forked = clock.Now()
		if err == nil {
			return source, nil
		}
		switch {
		case isBehindRewrite(err):
			if source, err = s.schedule(ctx); source != nil || err != nil {
				return source, err
			}
		case !isSaving(err):
			return nil, err
		}
		if err := (&poll{schedulePoll}).next(ctx); err != nil {
			return nil, fmt.Errorf("another save or rewrite is running: %w", err)
		}
	}
}

// isSaving and isBehindRewrite know the answers of rdb.c's bgsaveCommand when a
// child is running.
func isSaving(err error) bool {
	return strings.Contains(err.Error(), "Background save already in progress")
}

func isBehindRewrite(err error) bool {
	return strings.Contains(err.Error(), "Another child process is active")
}

// schedule has the server save as soon as its rewrite has ended, and returns
// when it has forked. The answer comes long before that, so what a dump is
// measured by is read again and again, and what counts is what was read last
// before the fork. Neither a source nor an error says that the server has
// forgotten it (a restart), or was quicker to save for somebody else: ask again.
func (s *saving) schedule(ctx context.Context) (*Source, error) {
	before, err := s.node.Info(ctx, "persistence")
	if err != nil {
		return nil, err
	}
	source, err := s.evidence(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.node.Do(ctx, "BGSAVE", "SCHEDULE"); err != nil {
		if isSaving(err) {
			return nil, nil
		}
		return nil, err
	}
	idle := clock.Now()
	for {
		next, err := s.evidence(ctx)
		if err != nil {
			return nil, err
		}
		info, err := s.node.Info(ctx, "persistence")
		if err != nil {
			return nil, err
		}
		if s.hasForked(before, info) {
			source.Forked = clock.Now()
			return source, nil
		}
		source = next
		switch {
		case info.Int("aof_rewrite_in_progress") == 1:
			idle = clock.Now()
		case clock.Since(idle) > lostSchedule:
			return nil, nil
		}
		if err := (&poll{schedulePoll}).next(ctx); err != nil {
			return nil, fmt.Errorf("a rewrite of the append-only file is running: %w", err)
		}
	}
}

// hasForked tells whether a save was begun since before, when none ran. The
// count of saves is of 7.0 and later; a save that begins and ends between two
// looks shows in its time, or else in its file.
func (s *saving) hasForked(before, now cluster.Info) bool {
	return now.Int("rdb_bgsave_in_progress") == 1 || now["rdb_saves"] != before["rdb_saves"] ||
		now["rdb_last_save_time"] != before["rdb_last_save_time"] || s.replaced()
}

// replaced tells whether the dump is another file than before.
func (s *saving) replaced() bool {
	now, err := os.Stat(s.path)
	return err == nil && !sameFile(s.before, now)
}

func sameFile(before, after os.FileInfo) bool {
	return before != nil && os.SameFile(before, after) && before.ModTime().Equal(after.ModTime())
}

// evidence notes, before a save, what the dump is measured by.
func (s *saving) evidence(ctx context.Context) (*Source, error) {
	now, err := s.node.Time(ctx)
	if err != nil {
		return nil, err
	}
	info, err := s.node.Info(ctx, "replication")
	if err != nil {
		return nil, err
	}
	return &Source{
		NotBefore:  now.Truncate(time.Second),
		ReplID:     info["master_replid"],
		ReplOffset: info.Int("master_repl_offset"),
	}, nil
}

// await waits for a save begun at or after an instant to have ended well.
func (s *saving) await(ctx context.Context, notBefore time.Time) error {
	wait := newPoll()
	for {
		info, err := s.node.Info(ctx, "persistence")
		if err != nil {
			return err
		}
		if info.Int("rdb_bgsave_in_progress") == 0 {
			return judge(info, notBefore)
		}
		if err := s.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pause waits between two looks at a node that saves. Once the dump is another
// file the child has nothing left to do, and the node is about to notice: it is
// looked at often. Before that the folder tells, which costs the node nothing.
func (s *saving) pause(ctx context.Context, wait *poll) error {
	for left := wait.grow(); left > 0; left -= pollFirst {
		if err := (&poll{pollFirst}).next(ctx); err != nil || s.replaced() {
			return err
		}
	}
	return nil
}

// judge reads the server's own evidence. A save that was killed (SIGUSR1, by a
// failover or FLUSHALL) leaves rdb_last_bgsave_status as it was, so the time of
// the last good save decides.
func judge(info cluster.Info, notBefore time.Time) error {
	if status := info["rdb_last_bgsave_status"]; status != "ok" {
		return hint.Add(fmt.Errorf("%w: rdb_last_bgsave_status is %q", ErrCannotSave, status),
			"look at the node's log: most often its disk is full or fork had no memory")
	}
	if saved := time.Unix(info.Int("rdb_last_save_time"), 0); saved.Before(notBefore) {
		return hint.Add(fmt.Errorf("%w: the last good save was at %s, the request came at %s",
			ErrStale, saved.UTC().Format(time.RFC3339), notBefore.UTC().Format(time.RFC3339)),
			"the save was killed, by a failover perhaps: look at the node's log and take the snapshot again")
	}
	return nil
}

// AwaitIdle waits until a node has no child: no save of anybody, and no rewrite.
// It waits as long as a save may take.
func AwaitIdle(ctx context.Context, access *cluster.Access, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, defaultSaveLimit, fmt.Errorf("%s has saved or rewritten for over %s", addr, defaultSaveLimit))
	defer cancel()
	node := access.Open(addr)
	defer node.Close()
	for wait := newPoll(); ; {
		info, err := node.Info(ctx, "persistence")
		if err != nil {
			return err
		}
		if info.Int("rdb_bgsave_in_progress") == 0 && info.Int("aof_rewrite_in_progress") == 0 {
			return nil
		}
		if err := wait.next(ctx); err != nil {
			return fmt.Errorf("wait for another save or rewrite: %w", err)
		}
	}
}

// poll waits between two looks, longer each time.
type poll struct{ pause time.Duration }

func newPoll() *poll { return &poll{pollFirst} }

// grow is the pause, which the next time is longer.
func (p *poll) grow() time.Duration {
	pause := p.pause
	p.pause = min(pause*3/2, pollMost)
	return pause
}

func (p *poll) next(ctx context.Context) error {
	timer := time.NewTimer(p.grow())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
