package cluster_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slotark/slotark/internal/cluster"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	access := cluster.Access{Username: "u", Password: "hunter2"}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "password", access.Password, "access", access)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "password", access.Password, "access", &access)
	encoded, err := json.Marshal(map[string]any{"password": access.Password})
	if err != nil {
		t.Fatal(err)
	}
	out := logged.String() + string(encoded) + access.Password.String() +
		fmt.Sprintf("%s %v %+v %#v %q %x %X %d %v %+v %#v", access.Password, access.Password, access.Password,
			access.Password, access.Password, access.Password, access.Password, access.Password, access, &access, access)
	for _, leak := range []string{"hunter2", "68756e74657232", "68756E74657232"} {
		if strings.Contains(out, leak) {
			t.Errorf("%q shows in %s", leak, out)
		}
	}
	if access.Password.Reveal() != "hunter2" {
		t.Error("Reveal does not reveal")
	}
}

func TestParseNAT(t *testing.T) {
	nat, err := cluster.ParseNAT([]string{"10.0.0.1:6379=127.0.0.1:7001", " [fe80::1]:6379 = host:7002 "})
	want := cluster.NAT{"10.0.0.1:6379": "127.0.0.1:7001", "[fe80::1]:6379": "host:7002"}
	if diff := cmp.Diff(want, nat); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if nat, err := cluster.ParseNAT(nil); nat != nil || err != nil {
		t.Error(nat, err)
	}
	for _, bad := range [][]string{
		{""}, {"a:1"}, {"a=b:1"}, {"a:1=b"}, {"a:1=b:0"}, {"a:1=b:65536"}, {":1=b:2"}, {"a:1=b:2", "a:1=b:3"},
	} {
		if nat, err := cluster.ParseNAT(bad); err == nil {
			t.Errorf("%q gave %v", bad, nat)
		}
	}
}

func TestReadReply(t *testing.T) {
	cases := map[string]struct {
		wire string
		want any
	}{
		"simple":      {"+OK\r\n", "OK"},
		"integer":     {":-7\r\n", int64(-7)},
		"bulk":        {"$5\r\na\r\nb\x00\r\n", "a\r\nb\x00"},
		"empty bulk":  {"$0\r\n\r\n", ""},
		"null bulk":   {"$-1\r\n", nil},
		"null array":  {"*-1\r\n", nil},
		"empty array": {"*0\r\n", []any(nil)},
		"nested":      {"*3\r\n:1\r\n*1\r\n$1\r\nx\r\n-ERR no\r\n", []any{int64(1), []any{"x"}, cluster.ServerError("ERR no")}},
	}
	for name, c := range cases {
		got, err := cluster.ReadReply(bufio.NewReader(strings.NewReader(c.wire)))
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	_, err := cluster.ReadReply(bufio.NewReader(strings.NewReader("-LOADING Redis is loading\r\n")))
	if !cluster.IsCode(err, "LOADING") {
		t.Errorf("the error reply reads %v", err)
	}
}

// What is not RESP, or lies about lengths, is an error and costs no memory.
func TestReadReplyRefuses(t *testing.T) {
	for _, wire := range []string{
		"?\r\n", "\r\n", ":x\r\n", "$536870913\r\n", "$-2\r\n", "$x\r\n", "*1048577\r\n", "*-2\r\n",
		strings.Repeat("*1\r\n", 20), strings.Repeat("x", 100<<10), "\x15\x03\x01\x00\x02\x02\x46",
	} {
		if reply, err := cluster.ReadReply(bufio.NewReader(strings.NewReader(wire))); err == nil {
			t.Errorf("%.20q gave %v", wire, reply)
		}
	}
	for _, cut := range []string{"$5\r\nab", "$500000000\r\nab", "*2\r\n:1\r\n", "+O"} {
		_, err := cluster.ReadReply(bufio.NewReader(strings.NewReader(cut)))
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("%q gave %v", cut, err)
		}
	}
}

func TestAppendCommand(t *testing.T) {
	got := string(cluster.AppendCommand([]byte("x"), "SET", []byte("\x00"), -12, int64(7), 1.5))
	want := "x*5\r\n$3\r\nSET\r\n$1\r\n\x00\r\n$3\r\n-12\r\n$1\r\n7\r\n$3\r\n1.5\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("*3\r\n:1\r\n*1\r\n$1\r\nx\r\n-ERR no\r\n"))
	f.Fuzz(func(_ *testing.T, wire []byte) {
		_, _ = cluster.ReadReply(bufio.NewReader(bytes.NewReader(wire)))
	})
}

func TestInfo(t *testing.T) {
	info := cluster.ParseInfo("# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n\r\n# x:y\r\nloading:1\r\npath:/a:b\r\n")
	if engine, version := info.Engine(); engine != "valkey" || version != "8.0.1" {
		t.Error(engine, version)
	}
	if info.Int("loading") != 1 || info.Int("absent") != 0 || info.Text("path") != "/a:b" || len(info) != 5 {
		t.Errorf("%v", info)
	}
	if engine, version := (cluster.Info{"redis_version": "7.0.15"}).Engine(); engine != "redis" || version != "7.0.15" {
		t.Error(engine, version)
	}
}

func TestLoadTLSErrors(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		files cluster.TLSFiles
		want  string
	}{
		"no such CA":   {cluster.TLSFiles{CA: junk + "x"}, "read CA file"},
		"CA is junk":   {cluster.TLSFiles{CA: junk}, "holds no PEM certificate"},
		"half a pair":  {cluster.TLSFiles{Cert: junk}, "both, or neither"},
		"pair is junk": {cluster.TLSFiles{Cert: junk, Key: junk}, "load client certificate"},
	}
	for name, c := range cases {
		if _, err := cluster.LoadTLS(c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	config, err := cluster.LoadTLS(cluster.TLSFiles{ServerName: "redis.example.com"})
	if err != nil || config.ServerName != "redis.example.com" || config.RootCAs != nil {
		t.Error(config, err)
	}
}
