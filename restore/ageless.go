package restore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/slotark/slotark/internal/aof"
	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/cluster"
	"github.com/slotark/slotark/internal/hint"
)

const (
	// ageless is by how many milliseconds expiries are put off while commands of
	// the past are sent: a hundred years.
	ageless = 100 * 365 * 24 * 3600 * 1000
	// scanCount is how many keys are asked for at once when they are brought back.
	scanCount = 1000
)

// expiryOf finds the absolute expiry that a command sets, and puts it off. What
// servers write to append-only files is absolute, whatever the client sent
// (propagation of EXPIRE, SET, GETEX and RESTORE in expire.c, t_string.c and
// cluster.c).
func (l *setLoader) expiryOf(name string, r *aof.Record) (change, error) {
	switch name {
	case "PEXPIREAT":
		return l.putOff(r, 2, ageless)
	case "EXPIREAT":
		return l.putOff(r, 2, ageless/1000)
	case "SET":
		return l.putOffOption(r, 3)
	case "GETEX":
		return l.putOffOption(r, 2)
	case "RESTORE", "RESTORE-ASKING":
		if len(r.Args) < 3 || string(r.Args[2]) == "0" {
			return change{}, nil
		}
		for _, option := range r.Args[3:] {
			if strings.EqualFold(string(option), "ABSTTL") {
				return l.putOff(r, 2, ageless)
			}
		}
		return change{}, l.relative(r)
	case "EXPIRE", "PEXPIRE", "SETEX", "PSETEX":
		return change{}, l.relative(r)
	case "HPEXPIREAT":
		l.countField(r, 2, 1)
	case "HEXPIREAT":
		l.countField(r, 2, 1000)
	case "HSETEX":
		for i := 2; i+1 < len(r.Args); i++ {
			if strings.EqualFold(string(r.Args[i]), "PXAT") {
				l.countField(r, i+1, 1)
			}
		}
	}
	return change{}, nil
}

// putOffOption puts off what PXAT or EXAT says among a command's options.
func (l *setLoader) putOffOption(r *aof.Record, from int) (change, error) {
	for i := from; i+1 < len(r.Args); i++ {
		switch strings.ToUpper(string(r.Args[i])) {
		case "PXAT":
			return l.putOff(r, i+1, ageless)
		case "EXAT":
			return l.putOff(r, i+1, ageless/1000)
		case "PX", "EX":
			return change{}, l.relative(r)
		}
	}
	return change{}, nil
}

func (l *setLoader) putOff(r *aof.Record, arg int, by int64) (change, error) {
	if len(r.Args) <= arg {
		return change{}, nil // the node refuses it
	}
	at, err := strconv.ParseInt(string(r.Args[arg]), 10, 64)
	if err != nil {
		return change{}, fmt.Errorf("the command %s at byte %d of %s sets an expiry that is no number", r.Name, r.Offset, l.set.file.Name)
	}
	return change{arg, strconv.FormatInt(at+by, 10)}, nil
}

// relative refuses an expiry that counts from when the command ran.
func (l *setLoader) relative(r *aof.Record) error {
	return hint.Add(fmt.Errorf("the command %s at byte %d of %s sets an expiry that counts from when it ran, which nobody knows", r.Name, r.Offset, l.set.file.Name),
		"Seed instead, with --to-dir, or restore from the dumps: leave --from-aof out.")
}

// countField counts a field's expiry that has passed: fields cannot be put off.
func (l *setLoader) countField(r *aof.Record, arg int, unit int64) {
	if len(r.Args) <= arg {
		return
	}
	if at, err := strconv.ParseInt(string(r.Args[arg]), 10, 64); err == nil && at*unit <= clock.Now().UnixMilli() {
		l.fields++
	}
}

// bringBack gives every key of a node the expiry that it had.
func (r *run) bringBack(ctx context.Context, t *target) (err error) {
	conn, reader, err := r.Access.Dial(ctx, t.given)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	a := &asking{conn: conn, reader: reader}
	for db := 0; db <= r.maxDB(t.shard); db++ {
		if err := a.bringBack(db); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("bring the expiries of %s back: %w", t.addr(), err)
		}
	}
	return nil
}

// asking is a connection on which several commands are sent at once.
type asking struct {
	conn   net.Conn
	reader *bufio.Reader
}

// ask sends commands and returns their answers. A refusal is an error.
func (a *asking) ask(commands ...[]any) ([]any, error) {
	if err := a.conn.SetDeadline(clock.Now().Add(defaultPatience)); err != nil {
		return nil, err
	}
	var out []byte
	for _, args := range commands {
		out = cluster.AppendCommand(out, args...)
	}
	if _, err := a.conn.Write(out); err != nil {
		return nil, err
	}
	answers := make([]any, len(commands))
	for i := range commands {
		var err error
		if answers[i], err = cluster.ReadReply(a.reader); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// bringBack goes through one database. A key that comes twice is left alone the
// second time: its expiry is none that was put off.
func (a *asking) bringBack(db int) error {
	if db > 0 {
		if _, err := a.ask([]any{"SELECT", db}); err != nil {
			return err
		}
	}
	least := clock.Now().UnixMilli()/2 + ageless/2
	for cursor := "0"; ; {
		answers, err := a.ask([]any{"SCAN", cursor, "COUNT", scanCount})
		if err != nil {
			return err
		}
		page, ok := answers[0].([]any)
		if !ok || len(page) != 2 {
			return fmt.Errorf("the answer to SCAN is %v", answers[0])
		}
		keys, _ := page[1].([]any)
		if err := a.bringKeysBack(keys, least); err != nil {
			return err
		}
		if cursor = fmt.Sprint(page[0]); cursor == "0" {
			return nil
		}
	}
}

func (a *asking) bringKeysBack(keys []any, least int64) error {
	var times, back [][]any
	for _, key := range keys {
		times = append(times, []any{"PEXPIRETIME", key})
	}
	answers, err := a.ask(times...)
	if err != nil {
		return err
	}
	for i, key := range keys {
		if at, ok := answers[i].(int64); ok && at > least {
			back = append(back, []any{"PEXPIREAT", key, at - ageless})
		}
	}
	_, err = a.ask(back...)
	return err
}
