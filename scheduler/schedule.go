package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/slotark/slotark/internal/hint"
)

// CheckSchedule tells whether an expression can be scheduled: five cron fields
// (minute, hour, day of month, month, day of week), "@every 90m", or "@hourly",
// "@daily", "@weekly", "@monthly", "@yearly".
func CheckSchedule(expression string) error {
	_, err := parse(expression)
	return err
}

const scheduleHint = `a schedule is five fields, minute hour day month weekday, such as "0 2 * * *" for 02:00 each day, or "@every 90m"`

func parse(expression string) (cron.Schedule, error) {
	// cron takes a zone in front of the fields, and panics where it stands
	// alone (v3.0.1). One zone for all schedules is what we want anyway.
	if strings.HasPrefix(expression, "TZ=") || strings.HasPrefix(expression, "CRON_TZ=") {
		return nil, fmt.Errorf("%q names a time zone: all schedules have one, which is set apart from them", expression)
	}
	if every, ok := strings.CutPrefix(expression, "@every "); ok {
		// cron rounds what is shorter up to a second, and a negative one too.
		if d, err := time.ParseDuration(every); err == nil && d < time.Second {
			return nil, fmt.Errorf("%q is too often: at least a second", expression)
		}
	}
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("%q is not a cron expression: %w", expression, err), scheduleHint)
	}
	if schedule.Next(calendarStart).IsZero() {
		return nil, fmt.Errorf("%q is never due: that day does not exist", expression)
	}
	return schedule, nil
}

// calendarStart is any instant: cron looks five years ahead of it, and every
// date of the calendar comes in them.
var calendarStart = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)

// check returns all that is wrong with the options.
func (o *Options) check() error {
	var problems []error
	if len(o.Jobs) == 0 {
		problems = append(problems, errors.New("there is no job to schedule"))
	}
	seen := map[string]bool{}
	for i, job := range o.Jobs {
		name := job.Name
		if name == "" {
			name = fmt.Sprintf("number %d", i+1)
			problems = append(problems, fmt.Errorf("job %s has no name", name))
		}
		if seen[name] {
			problems = append(problems, fmt.Errorf("job %s is there twice", name))
		}
		seen[name] = true
		if err := CheckSchedule(job.Schedule); err != nil {
			problems = append(problems, fmt.Errorf("schedule job %s: %w", name, err))
		}
		if job.Timeout <= 0 {
			problems = append(problems, fmt.Errorf("job %s has no time limit", name))
		}
		if job.Run == nil {
			problems = append(problems, fmt.Errorf("job %s has nothing to run", name))
		}
	}
	return errors.Join(problems...)
}
