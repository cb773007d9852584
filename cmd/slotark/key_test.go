package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/slotark/slotark/internal/clustertest"
	"github.com/slotark/slotark/internal/dataset"
	"github.com/slotark/slotark/internal/slot"
)

// shownText is a string of Redis as --json writes it.
type shownText string

func (s *shownText) UnmarshalJSON(data []byte) error {
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(s))
	}
	var binary struct{ Base64 []byte }
	err := json.Unmarshal(data, &binary)
	*s = shownText(binary.Base64)
	return err
}

// shownScore is a number, or the word for one that JSON has none for.
type shownScore float64

func (s *shownScore) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	*s = shownScore(f)
	return err
}

type shownKey struct {
	MessageType string `json:"message_type"`
	Key         shownText
	DB, Slot    int
	Shard, Type string
	Encoding    string
	ExpiresMS   int64 `json:"expires_ms"`
	Digest      string
	Value       json.RawMessage
}

type shownStream struct {
	Entries []struct {
		ID     string
		Fields [][2]shownText
	}
	Length       int64
	LastID       string `json:"last_id"`
	MaxDeletedID string `json:"max_deleted_id"`
	EntriesAdded int64  `json:"entries_added"`
	Groups       []struct {
		Name          shownText
		LastDelivered string `json:"last_delivered_id"`
		Pending       []struct {
			ID          string
			DeliveredMS int64 `json:"delivered_ms"`
			Deliveries  int64
		}
		Consumers []struct {
			Name    shownText
			Pending []string
		}
	}
}

// decoded is one JSON value as a T; what T has no field for is passed over.
func decoded[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return v
}

// TestShowKey prints keys of every type and encoding from a snapshot and holds
// them against what the cluster itself answers.
func TestShowKey(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 1_500, Seed: 11})
	client := c.Client()
	ctx := t.Context()
	do := func(args ...any) {
		t.Helper()
		if err := client.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("längere Zeilen\n", 20_000)
	binary := string([]byte{0, 0xff, 0xfe, '"'})
	do("SET", "", "of the empty name")
	do("SET", binary, binary)
	do("RPUSH", "long:list", "a", long, long+binary, "", binary, "\x7f\x1b[2J\"\\")
	do("HSET", "long:hash", long, "v", "f", long+"\xc3", long+binary, "x", "g", "", "x", long)
	// Redis 7.4 and Valkey 9 know it, others have no such fields.
	if err := client.Do(ctx, "HPEXPIREAT", "long:hash", 4102444800123, "FIELDS", 2, "g", "x").Err(); err != nil && !isUnknown(err) {
		t.Fatal(err)
	}
	do("ZADD", "z", "inf", "a", "-inf", binary, 0.1, "c", "-0", "", 1e300, long)
	do("XADD", "x", "1-1", "f", "v", binary, "", "f", "again")
	do("XADD", "x", "2-0", "f", "w")
	do("XADD", "x", "3-0", "f", "w")
	do("XDEL", "x", "2-0")
	do("XGROUP", "CREATE", "x", "g", "0")
	do("XGROUP", "CREATE", "x", binary, "$")
	do("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "x", ">")
	do("XREADGROUP", "GROUP", "g", "d", "STREAMS", "x", ">")
	repo := []string{"--repo", filepath.Join(t.TempDir(), "repo")}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, repo...)...).want(t, exitDone)

	compared := map[string]int{}
	for _, key := range someKeys(t, client) {
		o := slotark(t, password, append([]string{"show", "latest", "--json", "--key-base64", base64.StdEncoding.EncodeToString([]byte(key))}, repo...)...).want(t, exitDone)
		if strings.Count(o.stdout, "\n") != 1 {
			t.Errorf("%q: %d lines", key, strings.Count(o.stdout, "\n"))
		}
		k := decoded[shownKey](t, []byte(o.stdout))
		if k.MessageType != "key" || string(k.Key) != key || k.Slot != slot.Of([]byte(key)) || k.DB != 0 || len(k.Digest) != 32 {
			t.Errorf("%q is shown as %+v", key, k)
		}
		// The server answers -1 for a key without an expiry.
		if want := max(client.Do(ctx, "PEXPIRETIME", key).Val().(int64), 0); k.ExpiresMS != want {
			t.Errorf("%q expires at %d, the server says %d", key, k.ExpiresMS, want)
		}
		if got, want := valueShown(t, k), valueLive(t, client, key, k.Type); !reflect.DeepEqual(got, want) {
			t.Errorf("%q of type %s is shown as %.500v, the server says %.500v", key, k.Encoding, got, want)
		}
		compared[k.Encoding]++
	}
	t.Logf("compared, by encoding: %v", compared)
	if len(compared) < 9 { // every type, and those with a small and a large encoding in both
		t.Errorf("%d encodings were compared", len(compared))
	}
	// For a person: the same over several lines, with nothing that a terminal obeys.
	o := slotark(t, password, append([]string{"show", "latest", "--key", "long:list"}, repo...)...).want(t, exitDone, "\n  \"value\": [\n    \"a\",\n", `\u001b[2J`)
	if got := decoded[shownKey](t, []byte(o.stdout)); got.MessageType != "" || len(valueShown(t, got).([]string)) != 6 {
		t.Errorf("for a person: %+v", got)
	}
	slotark(t, password, append([]string{"show", "latest", "--key", ""}, repo...)...).want(t, exitDone, `"value": "of the empty name"`)
}

// someKeys are three keys of each type and encoding, and those whose name or
// value is out of the ordinary.
func someKeys(t *testing.T, client *redis.ClusterClient) []string {
	t.Helper()
	keys := []string{"", string([]byte{0, 0xff, 0xfe, '"'}), "long:list", "long:hash", "z", "x"}
	seen := map[string]int{}
	var names []string
	err := client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		found, err := node.Keys(ctx, "*").Result()
		names = append(names, found...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		kind := client.Type(t.Context(), name).Val() + " " + client.ObjectEncoding(t.Context(), name).Val()
		if seen[kind]++; seen[kind] <= 3 {
			keys = append(keys, name)
		}
	}
	return keys
}

// valueShown is a printed value in the form that valueLive gives.
func valueShown(t *testing.T, k shownKey) any {
	t.Helper()
	list := func(texts []shownText) (all []string) {
		for _, text := range texts {
			all = append(all, string(text))
		}
		return all
	}
	switch k.Type {
	case "string":
		return string(decoded[shownText](t, k.Value))
	case "list":
		return list(decoded[[]shownText](t, k.Value))
	case "set":
		members := list(decoded[[]shownText](t, k.Value))
		slices.Sort(members)
		return members
	case "zset":
		scores := map[string]float64{}
		for _, m := range decoded[[]struct {
			Member shownText
			Score  shownScore
		}](t, k.Value) {
			scores[string(m.Member)] = float64(m.Score)
		}
		return scores
	case "hash":
		fields := map[string]string{}
		for _, f := range decoded[[]struct {
			Field, Value shownText
			ExpiresMS    int64 `json:"expires_ms"`
		}](t, k.Value) {
			fields[string(f.Field)] = fmt.Sprintf("%q until %d", f.Value, f.ExpiresMS)
		}
		return fields
	}
	return streamShown(decoded[shownStream](t, k.Value))
}

func streamShown(s shownStream) []string {
	lines := []string{fmt.Sprint("state ", s.Length, s.LastID, s.MaxDeletedID, s.EntriesAdded)}
	for _, e := range s.Entries {
		line := e.ID
		for _, f := range e.Fields {
			line += fmt.Sprintf(" %q %q", f[0], f[1])
		}
		lines = append(lines, line)
	}
	for _, g := range s.Groups {
		lines = append(lines, fmt.Sprintf("group %q %s", g.Name, g.LastDelivered))
		times := map[string]string{}
		for _, p := range g.Pending {
			times[p.ID] = fmt.Sprint(p.ID, " ", p.DeliveredMS, " ", p.Deliveries)
		}
		for _, c := range g.Consumers {
			line := fmt.Sprintf("consumer %q", c.Name)
			for _, id := range c.Pending {
				line += " " + times[id]
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// valueLive is a key's value as the cluster answers it.
func valueLive(t *testing.T, client *redis.ClusterClient, key, kind string) any {
	t.Helper()
	ctx := t.Context()
	var value any
	var err error
	switch kind {
	case "string":
		value, err = client.Get(ctx, key).Result()
	case "list":
		value, err = client.LRange(ctx, key, 0, -1).Result()
	case "set":
		var members []string
		members, err = client.SMembers(ctx, key).Result()
		slices.Sort(members)
		value = members
	case "zset":
		var members []redis.Z
		members, err = client.ZRangeWithScores(ctx, key, 0, -1).Result()
		scores := map[string]float64{}
		for _, m := range members {
			scores[m.Member.(string)] = m.Score + 0 // minus zero is zero
		}
		value = scores
	case "hash":
		var fields map[string]string
		fields, err = client.HGetAll(ctx, key).Result()
		for name, text := range fields {
			fields[name] = fmt.Sprintf("%q until %d", text, fieldExpiry(t, client, key, name))
		}
		value = fields
	case "stream":
		return streamLive(t, client, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// fieldExpiry is when a field expires, in Unix milliseconds; 0: never.
func fieldExpiry(t *testing.T, client *redis.ClusterClient, key, field string) int64 {
	t.Helper()
	times, err := client.HPExpireTime(t.Context(), key, field).Result()
	if isUnknown(err) {
		return 0
	}
	if err != nil || len(times) != 1 {
		t.Fatalf("HPEXPIRETIME: %v, %v", times, err)
	}
	return max(times[0], 0)
}

// isUnknown tells that a server does not know a command.
func isUnknown(err error) bool { return err != nil && strings.Contains(err.Error(), "unknown command") }

// streamLive asks by XRANGE, which keeps the order of fields, and XINFO.
func streamLive(t *testing.T, client *redis.ClusterClient, key string) []string {
	t.Helper()
	info, err := client.XInfoStreamFull(t.Context(), key, 0).Result()
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{fmt.Sprint("state ", info.Length, info.LastGeneratedID, info.MaxDeletedEntryID, info.EntriesAdded)}
	entries, err := client.Do(t.Context(), "XRANGE", key, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pair := entry.([]any)
		line := pair[0].(string)
		for _, text := range pair[1].([]any) {
			line += fmt.Sprintf(" %q", text)
		}
		lines = append(lines, line)
	}
	for _, g := range info.Groups {
		lines = append(lines, fmt.Sprintf("group %q %s", g.Name, g.LastDeliveredID))
		for _, c := range g.Consumers {
			line := fmt.Sprintf("consumer %q", c.Name)
			for _, p := range c.Pending {
				line += fmt.Sprint(" ", p.ID, " ", p.DeliveryTime.UnixMilli(), " ", p.DeliveryCount)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// TestShowKeyReadsNoMore takes away from the stores what must not be needed, and
// damages what is: a value is shown of a dump that was proved sound, or nothing.
func TestShowKeyReadsNoMore(t *testing.T) {
	t.Parallel()
	c := filled(t, clustertest.Options{}, dataset.Options{Keys: 300, Seed: 12})
	client := c.Client()
	// Slots 12182, 5061 and 866, one of each shard; 12182 is "foo"'s alone.
	for _, key := range []string{"foo", "bar", "hello"} {
		if err := client.Set(t.Context(), key, "value of "+key, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	empty := emptySlotKey(t, client)
	repo, mirror := filepath.Join(t.TempDir(), "repo"), filepath.Join(t.TempDir(), "mirror")
	stores := []string{"--repo", repo, "--mirror", mirror}
	show := func(args ...string) outcome {
		t.Helper()
		return slotark(t, password, append(append([]string{"show", "latest"}, args...), stores...)...)
	}
	slotark(t, password, append([]string{"snapshot", "--node", c.Addrs()[0]}, stores...)...).want(t, exitDone)
	dumps := map[string]string{} // by name, in the first store
	for _, name := range objects(t, repo) {
		if strings.HasSuffix(name, "dump.rdb.zst") {
			dumps[filepath.Base(filepath.Dir(name))] = name
		}
	}
	shard := map[string]string{"foo": "shard-10922", "bar": "shard-5461", "hello": "shard-0"}
	if len(dumps) != 3 || dumps[shard["foo"]] == "" {
		t.Fatalf("dumps %v", slices.Collect(maps.Keys(dumps)))
	}
	show("--key", "foo").want(t, exitDone, `"value": "value of foo"`, `"store": "repo"`, `"slot": 12182`)
	// A damaged copy is passed over.
	path := filepath.Join(repo, dumps[shard["foo"]])
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range damages(whole) {
		rewrite(t, path, d.bytes)
		show("--key", "foo").want(t, exitDone, `"value": "value of foo"`, `"store": "mirror"`)
	}
	// Of the others nothing is needed.
	for name, dump := range dumps {
		if name != shard["foo"] {
			rewrite(t, filepath.Join(repo, dump), nil)
			rewrite(t, filepath.Join(mirror, dump), nil)
		}
	}
	show("--key", "foo").want(t, exitDone, `"value": "value of foo"`)
	missing := show("--key", "no such key {foo}").want(t, exitFailed, "slot 12182", "shard 10922-16383", "whose dump was read whole").wantOneLine(t)
	o := show("--key", empty, "--json").want(t, exitFailed, "holds no keys", "the dump was not read")
	if missing.stdout != "" || o.stdout != "" || !strings.HasPrefix(o.stderr, `{"message_type":"exit_error"`) {
		t.Errorf("stdout %q and %q, stderr %q", missing.stdout, o.stdout, o.stderr)
	}
	show("--key", "foo", "--db", "3").want(t, exitFailed, "database 3", "database 0 has a key of this name: --db 0")
	// An index that is damaged everywhere costs time, and no more.
	for _, store := range []string{repo, mirror} {
		rewrite(t, filepath.Join(store, filepath.Dir(dumps[shard["foo"]]), "slots.idx.zst"), []byte("no index"))
	}
	show("--key", "foo").want(t, exitDone, `"value": "value of foo"`, "slotark: warning: the slot index")
	// Without a sound copy nothing is shown.
	rewrite(t, filepath.Join(mirror, dumps[shard["foo"]]), damages(whole)[0].bytes)
	o = show("--key", "foo").want(t, exitFailed, "store repo", "store mirror")
	if o.stdout != "" {
		t.Errorf("of damaged dumps it shows %q", o.stdout)
	}
}

// emptySlotKey is a name whose slot holds no keys. Slot 12182's shard owns it.
func emptySlotKey(t *testing.T, client *redis.ClusterClient) string {
	t.Helper()
	for i := range math.MaxInt16 {
		name := fmt.Sprintf("nobody:%d", i)
		n := slot.Of([]byte(name))
		if n < 10923 {
			continue
		}
		owner, err := client.MasterForKey(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		count, err := owner.ClusterCountKeysInSlot(t.Context(), n).Result()
		if err != nil {
			t.Fatal(err)
		}
		if count == 0 {
			return name
		}
	}
	t.Fatal("no slot is empty")
	return ""
}
