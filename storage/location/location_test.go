package location_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/slotark/slotark/internal/s3test"
	"github.com/slotark/slotark/storage/location"
	"github.com/slotark/slotark/storage/storagetest"
)

func TestParse(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]struct{ url, name string }{
		"/var/backups/redis":                     {"file:///var/backups/redis", "redis"},
		"/var/backups/redis/":                    {"file:///var/backups/redis", "redis"},
		"/var/a b?c#d":                           {"file:///var/a%20b%3Fc%23d", "a b?c#d"},
		"backups":                                {"file://" + filepath.ToSlash(dir) + "/backups", "backups"},
		"./x:y":                                  {"file://" + filepath.ToSlash(dir) + "/x:y", "x:y"},
		"file:///var/backups":                    {"file:///var/backups", "backups"},
		"file://localhost/var/backups?name=disk": {"file:///var/backups?name=disk", "disk"},
		"s3://bucket":                            {"s3://bucket", "bucket"},
		"s3://bucket/":                           {"s3://bucket", "bucket"},
		"s3://bucket/a/b/?region=eu-west-1":      {"s3://bucket/a/b?region=eu-west-1", "eu-west-1"},
		"s3://bucket/p?region=eu-west-1&name=dublin":                      {"s3://bucket/p?name=dublin&region=eu-west-1", "dublin"},
		"s3://b/p?endpoint=http://h:1/&profile=x":                         {"s3://b/p?endpoint=http%3A%2F%2Fh%3A1&profile=x", "b"},
		"s3://b?endpoint=http://h&path_style=false":                       {"s3://b?endpoint=http%3A%2F%2Fh&path_style=false", "b"},
		"s3://b?sse=aws:kms&kms_key_id=k&storage_class=STANDARD_IA&ca=/x": {"s3://b?ca=%2Fx&kms_key_id=k&sse=aws%3Akms&storage_class=STANDARD_IA", "b"},
		"s3://b?lock=governance&lock_for=4w":                              {"s3://b?lock=governance&lock_for=28d", "b"},
		"s3://b?lock=compliance&lock_for=36h":                             {"s3://b?lock=compliance&lock_for=36h0m0s", "b"},
		"s3://b?lock=governance":                                          {"s3://b?lock=governance", "b"},
		"s3://b?lock=compliance&lock_for=keep":                            {"s3://b?lock=compliance", "b"},
		"s3://b?as_of=2026-01-31T03:00:00%2B01:00":                        {"s3://b?as_of=2026-01-31T02%3A00%3A00Z", "b"},
		"s3://b?path_style=true":                                          {"s3://b?path_style=true", "b"},
	} {
		l, err := location.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if l.String() != want.url || l.Name() != want.name {
			t.Errorf("Parse(%q) = %s named %s, want %s named %s", text, l, l.Name(), want.url, want.name)
		}
		again, err := location.Parse(l.String())
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("Parse(%q) = %+v %v, not the same again", l, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "empty",
		"gs://bucket":                         `unknown kind of store "gs"`,
		"s3:bucket":                           `"//" is missing`,
		"file:relative":                       `"//" is missing`,
		"file://host/path":                    `"host"`,
		"file://":                             "no folder",
		"file:///a?region=x":                  "unknown parameter region",
		"s3://":                               "no bucket",
		"s3:///prefix":                        "no bucket",
		"s3://b/p?regoin=x&colour=hunter":     "unknown parameter colour, regoin",
		"s3://b?region=a&region=b":            `"region" is given twice`,
		"s3://b/a/../b":                       `".."`,
		"s3://b?path_style=maybe":             "path_style",
		"s3://b?sse=yes":                      "AES256 or aws:kms",
		"s3://b?kms_key_id=k":                 "nothing says that it is used",
		"s3://b?sse=AES256&kms_key_id=k":      "nothing says that it is used",
		"s3://b?storage_class=DEEP_ARCHIVE":   "cannot be read for hours",
		"s3://b?storage_class=cheap":          "one of STANDARD",
		"s3://b?lock_for=30d":                 "nothing how",
		"s3://b?lock_for=keep":                "nothing how",
		"s3://b?lock=forever&lock_for=30d":    "governance or compliance",
		"s3://b?lock=compliance&lock_for=30":  `lock_for: "30" is not a time span`,
		"s3://b?lock=compliance&lock_for=0d":  `"0d" is not a time span`,
		"s3://b?as_of=yesterday":              `as_of: "yesterday" is not an instant`,
		"s3://b?as_of=2999-01-31T03:00:00Z":   "not over yet",
		"s3://b?endpoint=minio:9000":          "endpoint",
		"s3://b#x":                            `"#"`,
		"s3://AKIA:hunter2@b/p":               "credentials",
		"s3://AKIA:hunter2%zz@b/p":            "no URL",
		"s3://b?endpoint=http://u:hunter2@h":  "credentials",
		"s3://b?secret_access_key=hunter2":    "unknown parameter secret_access_key",
		"s3://b?endpoint=http://h%zz:hunter2": "parameters",
	} {
		_, err := location.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("Parse(%q) = %v, want one with %s", text, err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	server := s3test.Start(t)
	folder := filepath.Join(t.TempDir(), "store")
	for text, name := range map[string]string{
		folder: "store",
		server.URL(server.Bucket(t, "backups"), "some/prefix"): server.Region,
	} {
		s, err := location.Open(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		storagetest.Put(t, s, "a/b", []byte("x"))
		if s.Name != name {
			t.Errorf("%s is named %q", text, s.Name)
		}
	}
	t.Run("region from the environment", func(t *testing.T) {
		t.Setenv("AWS_REGION", "eu-north-1")
		s, err := location.Open(t.Context(), "s3://bucket")
		if err != nil || s.Name != "eu-north-1" {
			t.Errorf("%+v %v", s, err)
		}
	})
}
