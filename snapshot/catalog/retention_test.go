package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
)

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// daysOld is a whole snapshot of cluster prod.
func daysOld(days int) catalog.Candidate { return taken(noon.AddDate(0, 0, -days)) }

func taken(at time.Time) catalog.Candidate {
	return catalog.Candidate{Cluster: "prod", Time: at, ID: manifest.ID(at.Format("20060102T150405Z") + "-aaaaaa")}
}

func with(c catalog.Candidate, change func(*catalog.Candidate)) catalog.Candidate {
	change(&c)
	return c
}

// verdicts is a line for each decision: its age in days, + or -, the reasons.
func verdicts(decisions []catalog.Decision) []string {
	var lines []string
	for _, d := range decisions {
		mark := "-"
		if d.Keep {
			mark = "+"
		}
		lines = append(lines, fmt.Sprintf("%s%d %s", mark, int(noon.Sub(d.Time).Hours()/24), strings.Join(d.Reasons, ", ")))
	}
	return lines
}

func TestDecide(t *testing.T) {
	days := func(all ...int) (candidates []catalog.Candidate) {
		for _, d := range all {
			candidates = append(candidates, daysOld(d))
		}
		return candidates
	}
	broken := func(c *catalog.Candidate) { c.Flaw = "unreadable" }
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		policy     catalog.Policy
		candidates []catalog.Candidate
		want       []string
	}{
		"no rule": {catalog.Policy{Minimum: 1}, days(1, 400), []string{"+1 no rule is given", "+400 no rule is given"}},
		"last": {catalog.Policy{Last: 2}, days(3, 1, 2),
			[]string{"+1 newest whole, last 1 of 2", "+2 last 2 of 2", "-3 no rule keeps it"}},
		"within": {catalog.Policy{Within: 2 * day}, days(1, 2, 3),
			[]string{"+1 newest whole, within 2 d", "+2 within 2 d", "-3 no rule keeps it"}},
		"minimum": {catalog.Policy{Last: 1, Minimum: 3}, days(1, 2, 3, 4),
			[]string{"+1 newest whole, minimum of 3, last 1 of 1", "+2 minimum of 3", "+3 minimum of 3", "-4 no rule keeps it"}},
		"calendar": {catalog.Policy{Daily: 2, Weekly: 2, Monthly: 2, Yearly: 2}, days(0, 1, 2, 14, 15, 40, 200, 300), []string{
			"+0 newest whole, daily 1 of 2, weekly 1 of 2, monthly 1 of 2, yearly 1 of 2",
			"+1 daily 2 of 2, weekly 2 of 2", "-2 no rule keeps it", "-14 no rule keeps it", "+15 monthly 2 of 2",
			"-40 no rule keeps it", "+200 yearly 2 of 2", "-300 no rule keeps it"}},
		"floors": {catalog.Policy{Last: 1}, []catalog.Candidate{
			daysOld(1), daysOld(2),
			with(daysOld(3), func(c *catalog.Candidate) { c.Sound = true }), with(daysOld(4), func(c *catalog.Candidate) { c.Proved = true }),
			with(daysOld(5), func(c *catalog.Candidate) { c.Sound, c.Proved = true, true }),
			with(daysOld(6), func(c *catalog.Candidate) { c.Hold = &catalog.Hold{Reason: "audit", Until: noon.AddDate(1, 0, 0)} }),
			with(daysOld(7), func(c *catalog.Candidate) { c.Uses = []catalog.Use{{Since: noon}} }),
			with(daysOld(8), func(c *catalog.Candidate) { c.Unsure = "its hold cannot be read" }),
		}, []string{
			"+1 newest whole, last 1 of 1", "-2 no rule keeps it", "+3 newest verified", "+4 newest drilled", "-5 no rule keeps it",
			"+6 held until 2027-06-15 12:00:00 UTC: audit", "+7 being restored since 2026-06-15 12:00:00 UTC", "+8 its hold cannot be read"}},
		// What burned others: five kept by number, all of them incomplete.
		"broken ones take no place": {catalog.Policy{Last: 2, Margin: day}, []catalog.Candidate{
			with(daysOld(0), broken), with(daysOld(2), broken), daysOld(3), with(daysOld(4), broken), daysOld(5), with(daysOld(6), broken), daysOld(7)},
			[]string{"+0 unreadable, but younger than 24 h", "+2 unreadable, but not older than all whole ones that are kept",
				"+3 newest whole, last 1 of 2", "+4 unreadable, but not older than all whole ones that are kept", "+5 last 2 of 2",
				"-6 unreadable, and older than all whole ones that are kept", "-7 no rule keeps it"}},
		"nothing but broken ones": {catalog.Policy{Last: 1}, []catalog.Candidate{with(daysOld(1), broken), with(daysOld(900), broken)},
			[]string{"+1 unreadable, but there is no whole one", "+900 unreadable, but there is no whole one"}},
		"from the future": {catalog.Policy{Last: 1}, days(-9, 1, 2),
			[]string{"+-9 it is dated in the future: look at the clock of the machine that took it", "+1 newest whole, last 1 of 1", "-2 no rule keeps it"}},
		"each cluster alone": {catalog.Policy{Last: 1}, []catalog.Candidate{daysOld(1), daysOld(3), with(daysOld(2), func(c *catalog.Candidate) { c.Cluster = "cache" })},
			[]string{"+1 newest whole, last 1 of 1", "+2 newest whole, last 1 of 1", "-3 no rule keeps it"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, verdicts(test.policy.Decide(test.candidates, noon))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The calendar is a place's: where a day begins, and that one hour is there
// twice when summer time ends.
func TestDecideInTimeZones(t *testing.T) {
	load := func(name string) *time.Location {
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return location
	}
	utc := func(text string) catalog.Candidate {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return taken(at)
	}
	for name, test := range map[string]struct {
		policy catalog.Policy
		at     []string
		keep   string // + or - for each, the newest first
	}{
		"one day in UTC":                {catalog.Policy{Daily: 2}, []string{"2026-06-02T23:30:00Z", "2026-06-02T21:30:00Z", "2026-06-01T12:00:00Z"}, "+-+"},
		"two days in Berlin":            {catalog.Policy{Daily: 2, Location: load("Europe/Berlin")}, []string{"2026-06-02T23:30:00Z", "2026-06-02T21:30:00Z", "2026-06-01T12:00:00Z"}, "++-"},
		"the hour that is there twice":  {catalog.Policy{Hourly: 3, Location: load("Europe/Berlin")}, []string{"2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z", "2026-10-24T23:30:00Z", "2026-10-24T22:30:00Z"}, "+++-"},
		"the hour that is not there":    {catalog.Policy{Hourly: 2, Location: load("Europe/Berlin")}, []string{"2026-03-29T01:10:00Z", "2026-03-29T00:50:00Z", "2026-03-28T23:50:00Z"}, "++-"},
		"a day of 25 hours":             {catalog.Policy{Daily: 1, Location: load("Europe/Berlin")}, []string{"2026-10-25T22:59:00Z", "2026-10-24T22:00:00Z", "2026-10-24T21:59:00Z"}, "+--"},
		"summer time of half an hour":   {catalog.Policy{Hourly: 2, Location: load("Australia/Lord_Howe")}, []string{"2026-04-04T15:20:00Z", "2026-04-04T14:50:00Z", "2026-04-04T13:10:00Z"}, "++-"},
		"a day that a country left out": {catalog.Policy{Daily: 2, Location: load("Pacific/Apia")}, []string{"2011-12-30T12:00:00Z", "2011-12-30T09:00:00Z", "2011-12-29T09:00:00Z"}, "++-"},
		"a week over the year's end":    {catalog.Policy{Weekly: 2}, []string{"2027-01-03T12:00:00Z", "2026-12-31T12:00:00Z", "2026-12-27T12:00:00Z", "2026-12-20T12:00:00Z"}, "+-+-"},
	} {
		t.Run(name, func(t *testing.T) {
			var candidates []catalog.Candidate
			for _, at := range test.at {
				candidates = append(candidates, utc(at))
			}
			got := ""
			for _, d := range test.policy.Decide(candidates, candidates[0].Time) {
				got += map[bool]string{true: "+", false: "-"}[d.Keep]
			}
			if got != test.keep {
				t.Errorf("got %s, want %s", got, test.keep)
			}
		})
	}
}

// random gives candidates of two clusters over two years, many of them at equal
// times, and a policy.
func random(r *rand.Rand) (catalog.Policy, []catalog.Candidate) {
	zones := []*time.Location{nil, time.FixedZone("east", 14*3600), time.FixedZone("west", -11*3600-1800)}
	policy := catalog.Policy{
		Last: r.IntN(5), Within: time.Duration(r.IntN(3)) * 100 * time.Hour, Hourly: r.IntN(5), Daily: r.IntN(5), Weekly: r.IntN(4),
		Monthly: r.IntN(4), Yearly: r.IntN(3), Minimum: r.IntN(6), Margin: time.Duration(r.IntN(200)) * time.Hour, Location: zones[r.IntN(len(zones))],
	}
	var candidates []catalog.Candidate
	for i := range r.IntN(80) {
		c := catalog.Candidate{Cluster: []string{"prod", "cache"}[r.IntN(2)], Time: noon.Add(-time.Duration(r.IntN(700)*r.IntN(25)) * time.Hour)}
		c.ID = manifest.ID(fmt.Sprintf("%s-%06d", c.Time.Format("20060102T150405Z"), i))
		c.Sound, c.Proved = r.IntN(6) == 0, r.IntN(6) == 0
		if r.IntN(4) == 0 {
			c.Flaw = "broken"
		}
		if r.IntN(20) == 0 {
			c.Hold = &catalog.Hold{Reason: "audit"}
		}
		if r.IntN(20) == 0 {
			c.Uses = []catalog.Use{{Since: noon}}
		}
		if r.IntN(20) == 0 {
			c.Unsure = "not asked"
		}
		candidates = append(candidates, c)
	}
	return policy, candidates
}

func kept(decisions []catalog.Decision) map[manifest.ID]bool {
	ids := map[manifest.ID]bool{}
	for _, d := range decisions {
		if d.Keep {
			ids[d.ID] = true
		}
	}
	return ids
}

// TestDecideNeverDropsAFloor tries many policies on many catalogs, each by a
// seed that a failure names.
func TestDecideNeverDropsAFloor(t *testing.T) {
	surely := false
	for seed := range uint64(3000) {
		policy, candidates := random(rand.New(rand.NewPCG(seed, 1)))
		decisions := policy.Decide(candidates, noon)
		if len(decisions) != len(candidates) {
			t.Fatalf("seed %d: %d decisions on %d", seed, len(decisions), len(candidates))
		}
		whole := map[string]int{}
		first := map[string]bool{} // "<cluster> <floor>": was seen
		for _, d := range decisions {
			must := d.Hold != nil || len(d.Uses) > 0 || d.Unsure != "" || policy.Empty()
			if d.Flaw == "" {
				whole[d.Cluster]++
				must = must || whole[d.Cluster] <= max(1, policy.Minimum)
				sure := policy.Sure() > 0 && noon.Sub(d.Time) <= policy.Sure() // which a lock goes by
				if surely = surely || sure; sure {
					must = true
				}
				for floor, has := range map[string]bool{" sound": d.Sound, " proved": d.Proved} {
					must = must || has && !first[d.Cluster+floor]
					first[d.Cluster+floor] = first[d.Cluster+floor] || has
				}
			} else if noon.Sub(d.Time) < policy.Margin {
				must = true
			}
			if must && !d.Keep {
				t.Fatalf("seed %d: %s is dropped: %v", seed, d.ID, d.Reasons)
			}
			if len(d.Reasons) == 0 {
				t.Fatalf("seed %d: no reason for %s", seed, d.ID)
			}
		}
		// What is not whole outlives the whole ones of its time.
		for _, d := range decisions {
			for _, other := range decisions {
				if d.Flaw != "" && !d.Keep && other.Cluster == d.Cluster && other.Flaw == "" && other.Keep && !other.Time.After(d.Time) {
					t.Fatalf("seed %d: %s is dropped before the older %s", seed, d.ID, other.ID)
				}
			}
		}
	}
	if !surely {
		t.Error("nothing was kept for sure: the test tests less than it says")
	}
}

// TestSure has the time for which rules keep a snapshot for sure: until its end
// they do, whatever else is taken, and after it they need not.
func TestSure(t *testing.T) {
	for want, policy := range map[time.Duration]catalog.Policy{
		0:              {Last: 90, Hourly: 90, Daily: 90, Weekly: 90, Monthly: 90, Yearly: 90, Minimum: 90},
		48 * time.Hour: {Within: 48 * time.Hour, Last: 1},
	} {
		if got := policy.Sure(); got != want {
			t.Errorf("%+v keeps for sure for %s, want %s", policy, got, want)
		}
		all := []catalog.Candidate{taken(noon)}
		for i := range 200 { // so many that no other rule has a place for it
			all = append(all, taken(noon.Add(want+time.Duration(i)*time.Second)))
		}
		policy.Minimum, policy.Last = 1, min(policy.Last, 1)
		for after, wantKept := range map[time.Duration]bool{want: want > 0, want + time.Second: false} {
			if kept := kept(policy.Decide(all, noon.Add(after)))[all[0].ID]; kept != wantKept {
				t.Errorf("%+v: %s later it is kept: %t", policy, after, kept)
			}
		}
	}
}

// More of any rule never drops what less of it keeps.
func TestDecideIsMonotone(t *testing.T) {
	more := map[string]func(*catalog.Policy){
		"last": func(p *catalog.Policy) { p.Last++ }, "within": func(p *catalog.Policy) { p.Within += 50 * time.Hour },
		"hourly": func(p *catalog.Policy) { p.Hourly++ }, "daily": func(p *catalog.Policy) { p.Daily++ }, "weekly": func(p *catalog.Policy) { p.Weekly++ },
		"monthly": func(p *catalog.Policy) { p.Monthly++ }, "yearly": func(p *catalog.Policy) { p.Yearly++ },
		"minimum": func(p *catalog.Policy) { p.Minimum++ }, "margin": func(p *catalog.Policy) { p.Margin += 50 * time.Hour },
	}
	for seed := range uint64(500) {
		less, candidates := random(rand.New(rand.NewPCG(seed, 2)))
		if less.Empty() { // it drops nothing, and any rule drops more
			continue
		}
		before := kept(less.Decide(candidates, noon))
		for name, grow := range more {
			policy := less
			grow(&policy)
			after := kept(policy.Decide(candidates, noon))
			for id := range before {
				if !after[id] {
					t.Fatalf("seed %d: more %s drops %s", seed, name, id)
				}
			}
		}
	}
}

func TestDecideDoesNotDependOnOrder(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		policy, candidates := random(r)
		want := policy.Decide(candidates, noon)
		shuffled := slices.Clone(candidates)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(want, policy.Decide(shuffled, noon)); diff != "" {
			t.Fatalf("seed %d: (-want +got):\n%s", seed, diff)
		}
	}
}

// Pruning every day comes to the same as pruning once: what is dropped today
// would not have been wanted tomorrow. That a month's place is taken by its
// newest does not lose the month.
func TestDecideDayByDay(t *testing.T) {
	policy := catalog.Policy{Daily: 7, Weekly: 4, Monthly: 12, Yearly: 3, Minimum: 3}
	var left []catalog.Candidate
	start := time.Date(2023, 1, 1, 2, 0, 0, 0, time.UTC)
	for day := range 1200 {
		now := start.AddDate(0, 0, day)
		left = append(left, taken(now))
		ids := kept(policy.Decide(left, now))
		left = slices.DeleteFunc(left, func(c catalog.Candidate) bool { return !ids[c.ID] })
	}
	months := map[string]bool{}
	for _, c := range left {
		months[c.Time.Format("2006-01")] = true
	}
	if len(left) < 12+7 || len(left) > 7+4+12+3 || len(months) < 12 {
		t.Errorf("after 1200 days %d are left, of %d months", len(left), len(months))
	}
}
