package cluster

import (
	"strconv"
	"strings"
)

// Info is what INFO or CLUSTER INFO answered: field to value.
type Info map[string]string

// ParseInfo reads "field:value" lines. Headings ("# Server"), empty lines and
// lines without a colon are passed over.
func ParseInfo(text string) Info {
	info := Info{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if field, value, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, "#") {
			info[field] = value
		}
	}
	return info
}

// Text returns a field, empty where the server has none.
func (i Info) Text(field string) string { return i[field] }

// Int returns a field as an integer, 0 where the server has none or it is not
// a number. Fields that tell 0 from absent are looked up in the map.
func (i Info) Int(field string) int64 {
	n, err := strconv.ParseInt(i[field], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Engine tells the software and its version from INFO server. Valkey reports
// a redis_version for old clients' sake; its own version has a field of its own.
func (i Info) Engine() (engine, version string) {
	if v := i["valkey_version"]; v != "" {
		return "valkey", v
	}
	return "redis", i["redis_version"]
}
