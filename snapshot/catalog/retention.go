package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/snapshot/manifest"
)

// Policy says which snapshots of a cluster are kept. Each rule keeps some, and
// what no rule keeps is dropped. Only whole snapshots take a place of a rule.
type Policy struct {
	Last   int           // the newest so many
	Within time.Duration // all that are not older
	// The newest of each of the newest so many hours, days, weeks (ISO 8601,
	// from Monday), months and years that have one.
	Hourly, Daily, Weekly, Monthly, Yearly int
	// Minimum is how many of the newest whole ones stay whatever the rules
	// say. Less than one is one.
	Minimum  int
	Location *time.Location // of hours, days, weeks, months, years; nil is UTC
	// Margin is the age below which what is not whole stays: it may be the
	// work of somebody who is not done.
	Margin time.Duration
}

// Empty tells whether the policy has no rule. It drops nothing then.
func (p Policy) Empty() bool {
	return p.Last == 0 && p.Within == 0 && p.Hourly == 0 && p.Daily == 0 && p.Weekly == 0 && p.Monthly == 0 && p.Yearly == 0
}

// Sure is for how long, from when it was begun, the rules keep a whole snapshot
// whatever else is taken; zero where that cannot be said. Every other rule than
// Within keeps a snapshot only until newer ones have its place, and how soon
// these come nobody knows.
func (p Policy) Sure() time.Duration { return max(0, p.Within) }

// Candidate is what retention has to know of one snapshot.
type Candidate struct {
	Cluster string
	ID      manifest.ID
	Time    time.Time // when it was begun
	Flaw    string    // why it is not whole; "" for one that is
	Sound   bool      // its newest verification read a copy and found nothing in it
	Proved  bool      // its newest drill proved it
	Hold    *Hold     // in force at the time of asking; nil for none
	Uses    []Use     // restores and drills that read it
	Unsure  string    // what could not be found out of it and might keep it
}

// Decision is what becomes of one snapshot, and every reason for it.
type Decision struct {
	Candidate
	Keep    bool
	Reasons []string
}

// maxAhead is how far clocks may differ. A snapshot from further in the future
// was taken by a clock that is wrong, and says nothing about which is newest.
const maxAhead = 5 * time.Minute

// Decide gives for each candidate whether it is kept and why, newest first.
// It looks at nothing but its arguments, and treats each cluster alone.
//
// Whatever the rules say, these stay: the newest whole one, the newest that
// was verified sound, the newest that a drill proved, the newest Minimum whole
// ones, what is held, what is being restored, what is not fully known, and what
// comes from the future. A snapshot that is not whole stays until it is past the
// Margin and older than every whole one that is kept: until then it may be all
// there is of its time.
func (p Policy) Decide(candidates []Candidate, now time.Time) []Decision {
	decisions := make([]Decision, len(candidates))
	clusters := map[string][]*Decision{}
	for i, c := range candidates {
		decisions[i].Candidate = c
	}
	slices.SortFunc(decisions, func(a, b Decision) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID), cmp.Compare(a.Cluster, b.Cluster))
	})
	for i := range decisions {
		d := &decisions[i]
		clusters[d.Cluster] = append(clusters[d.Cluster], d)
	}
	for _, all := range clusters {
		p.decideCluster(all, now)
	}
	return decisions
}

// decideCluster decides on one cluster's snapshots, the newest first.
func (p Policy) decideCluster(all []*Decision, now time.Time) {
	if p.Empty() {
		for _, d := range all {
			d.keep("no rule is given")
		}
		return
	}
	var whole []*Decision
	for _, d := range all {
		switch {
		case d.Time.After(now.Add(maxAhead)):
			d.keep("it is dated in the future: look at the clock of the machine that took it")
		case d.Flaw == "":
			whole = append(whole, d)
		}
	}
	p.floors(all, whole)
	p.rules(whole, now)
	var oldest time.Time // of the whole ones that are kept
	for _, d := range whole {
		if d.Keep {
			oldest = d.Time
		}
	}
	for _, d := range all {
		switch {
		case d.Keep:
		case d.Flaw == "":
			d.Reasons = []string{"no rule keeps it"}
		case now.Sub(d.Time) < p.Margin:
			d.keep(d.Flaw + ", but younger than " + human.Age(p.Margin))
		case len(whole) == 0:
			d.keep(d.Flaw + ", but there is no whole one")
		case !d.Time.Before(oldest):
			d.keep(d.Flaw + ", but not older than all whole ones that are kept")
		default:
			d.Reasons = []string{d.Flaw + ", and older than all whole ones that are kept"}
		}
	}
}

func (d *Decision) keep(reason string) {
	d.Keep = true
	d.Reasons = append(d.Reasons, reason)
}

// floors keeps what no rule and no flag takes away.
func (p Policy) floors(all, whole []*Decision) {
	minimum := max(1, p.Minimum)
	for i, d := range whole {
		if i == 0 {
			d.keep("newest whole")
		}
		if i < minimum && minimum > 1 {
			d.keep(fmt.Sprintf("minimum of %d", minimum))
		}
	}
	if i := slices.IndexFunc(whole, func(d *Decision) bool { return d.Sound }); i >= 0 {
		whole[i].keep("newest verified")
	}
	if i := slices.IndexFunc(whole, func(d *Decision) bool { return d.Proved }); i >= 0 {
		whole[i].keep("newest drilled")
	}
	for _, d := range all {
		if d.Hold != nil {
			d.keep(d.Hold.String())
		}
		for _, u := range d.Uses {
			d.keep(u.String())
		}
		if d.Unsure != "" {
			d.keep(d.Unsure)
		}
	}
}

// rules applies the policy's rules to the whole snapshots, the newest first.
func (p Policy) rules(whole []*Decision, now time.Time) {
	for i, d := range whole {
		if i < p.Last {
			d.keep(fmt.Sprintf("last %d of %d", i+1, p.Last))
		}
		if p.Within > 0 && now.Sub(d.Time) <= p.Within {
			d.keep("within " + human.Age(p.Within))
		}
	}
	for _, r := range []struct {
		name   string
		quota  int
		period func(time.Time) period
	}{
		{"hourly", p.Hourly, hourOf}, {"daily", p.Daily, dayOf}, {"weekly", p.Weekly, weekOf},
		{"monthly", p.Monthly, monthOf}, {"yearly", p.Yearly, yearOf},
	} {
		seen := map[period]bool{}
		for _, d := range whole {
			in := r.period(p.local(d.Time))
			if len(seen) >= r.quota {
				break
			}
			if !seen[in] {
				seen[in] = true
				d.keep(fmt.Sprintf("%s %d of %d", r.name, len(seen), r.quota))
			}
		}
	}
}

func (p Policy) local(t time.Time) time.Time {
	if p.Location == nil {
		return t.UTC()
	}
	return t.In(p.Location)
}

// period names one hour, day, week, month or year of a calendar.
type period [5]int

// hourOf tells the two hours apart that have one name when summer time ends.
func hourOf(t time.Time) period {
	_, offset := t.Zone()
	return period{t.Year(), int(t.Month()), t.Day(), t.Hour(), offset}
}

func dayOf(t time.Time) period { return period{t.Year(), int(t.Month()), t.Day()} }

func weekOf(t time.Time) period {
	year, week := t.ISOWeek()
	return period{year, week}
}

func monthOf(t time.Time) period { return period{t.Year(), int(t.Month())} }

func yearOf(t time.Time) period { return period{t.Year()} }
