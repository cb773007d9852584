package human_test

import (
	"testing"
	"time"

	"github.com/slotark/slotark/internal/human"
)

func TestForms(t *testing.T) {
	cases := []struct{ got, want string }{
		{human.Count(0), "0"},
		{human.Count(999), "999"},
		{human.Count(1000), "1,000"},
		{human.Count(uint64(2010001)), "2,010,001"},
		{human.Count(-123), "-123"},
		{human.Count(-123456), "-123,456"},
		{human.Plural(1, "shard"), "1 shard"},
		{human.Plural(0, "shard"), "0 shards"},
		{human.Plural(12000, "key"), "12,000 keys"},
		{human.Size(0), "0 B"},
		{human.Size(999), "999 B"},
		{human.Size(1000), "1.0 kB"},
		{human.Size(99_940), "99.9 kB"},
		{human.Size(402_300_000), "402 MB"},
		{human.Size(999_600_000), "1.0 GB"},
		{human.Size(2_100_000_000_000), "2.1 TB"},
		{human.Duration(41 * time.Millisecond), "41 ms"},
		{human.Duration(-41 * time.Millisecond), "-41 ms"},
		{human.Duration(9400 * time.Millisecond), "9.4 s"},
		{human.Duration(125 * time.Second), "2 min 5 s"},
		{human.Duration(6*time.Hour + 12*time.Minute), "6 h 12 min"},
		{human.Age(-time.Second), "0 s"},
		{human.Age(59 * time.Minute), "59 min"},
		{human.Age(30 * time.Hour), "30 h"},
		{human.Age(72 * time.Hour), "3 d"},
		{human.Moment(time.Date(2026, 1, 31, 2, 0, 3, 0, time.FixedZone("", 3600))), "2026-01-31 01:00:03 UTC"},
		{human.List(nil), ""},
		{human.List([]string{"a"}), "a"},
		{human.List([]string{"a", "b", "c"}), "a, b and c"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
