package location

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/fs"
	"github.com/slotark/slotark/storage/s3"
)

const hintForms = "Use a folder, file:///folder, or s3://bucket/prefix?region=..."

var schemeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// Location is a parsed store URL.
type Location struct {
	Scheme string // "file" or "s3"
	Path   string // of file: absolute
	// S3 is the bucket's. A Lock without LockFor is one for as long as a snapshot is
	// kept: who opens the store knows the rules, and fills it in.
	S3   s3.Options
	AsOf time.Time // of s3: the instant as of which it is shown; zero is now

	name string // of the parameter name
}

// Parse reads a store URL or a folder's path. A relative path is taken from
// the current folder.
func Parse(text string) (Location, error) {
	if text == "" {
		return Location{}, hint.Add(errors.New("parse store: it is empty"), hintForms)
	}
	if !schemeForm.MatchString(text) {
		abs, err := filepath.Abs(text)
		if err != nil {
			return Location{}, fmt.Errorf("parse store %q: %w", text, err)
		}
		return Location{Scheme: "file", Path: abs}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse repeats the whole text, and what did not
		// parse may be a password.
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		if strings.Contains(text, "@") {
			err = errors.New("it is no URL")
		}
		return Location{}, hint.Add(fmt.Errorf("parse store URL: %w", err), hintForms)
	}
	l, err := parseURL(u)
	if err != nil {
		return Location{}, fmt.Errorf("parse store %s: %w", display(u), err)
	}
	return l, nil
}

// display is what of a URL may be shown.
func display(u *url.URL) string {
	if u.Opaque != "" {
		return u.Scheme + ":..."
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func parseURL(u *url.URL) (Location, error) {
	switch {
	case u.User != nil:
		return Location{}, hint.Add(errors.New("a URL may not hold credentials"),
			"Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ?profile=...")
	case u.Opaque != "":
		return Location{}, hint.Add(fmt.Errorf(`"//" is missing after %q`, u.Scheme+":"), hintForms)
	case u.Fragment != "":
		return Location{}, hint.Add(errors.New(`it has a "#"`), "Write %23 for a # in a name.")
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, errors.New("its parameters cannot be read")
	}
	switch u.Scheme {
	case "file":
		return parseFile(u, values)
	case "s3":
		return parseS3(u, values)
	}
	return Location{}, hint.Add(fmt.Errorf("unknown kind of store %q: there are file and s3", u.Scheme), hintForms)
}

func parseFile(u *url.URL, values url.Values) (Location, error) {
	if err := known(values, "name"); err != nil {
		return Location{}, err
	}
	if u.Host != "" && u.Host != "localhost" {
		return Location{}, hint.Add(fmt.Errorf("%q is taken for a host name", u.Host),
			"Write three slashes: file:///folder.")
	}
	if u.Path == "" {
		return Location{}, hint.Add(errors.New("no folder is named"), hintForms)
	}
	return Location{Scheme: "file", Path: filepath.Clean(filepath.FromSlash(u.Path)), name: values.Get("name")}, nil
}

func parseS3(u *url.URL, values url.Values) (Location, error) {
	if err := known(values, s3Parameters...); err != nil {
		return Location{}, err
	}
	if u.Host == "" {
		return Location{}, hint.Add(errors.New("no bucket is named"), hintForms)
	}
	prefix := strings.Trim(u.Path, "/")
	if prefix != "" {
		if err := storage.CheckName(prefix); err != nil {
			return Location{}, fmt.Errorf("prefix: %w", err)
		}
	}
	o := s3.Options{
		Bucket: u.Host, Prefix: prefix,
		Region: values.Get("region"), Endpoint: strings.TrimSuffix(values.Get("endpoint"), "/"), Profile: values.Get("profile"),
		CA: values.Get("ca"),
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		return Location{}, err
	}
	// Few servers other than AWS answer to bucket.host.
	o.PathStyle = o.Endpoint != ""
	if text := values.Get("path_style"); text != "" {
		style, err := strconv.ParseBool(text)
		if err != nil {
			return Location{}, fmt.Errorf("path_style is %q: true or false", text)
		}
		o.PathStyle = style
	}
	if err := parseStored(&o, values); err != nil {
		return Location{}, err
	}
	if err := parseLock(&o, values); err != nil {
		return Location{}, err
	}
	asOf, err := ParseInstant(values.Get("as_of"))
	if err != nil {
		return Location{}, fmt.Errorf("as_of: %w", err)
	}
	return Location{Scheme: "s3", S3: o, AsOf: asOf, name: values.Get("name")}, nil
}

func checkEndpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("endpoint is no URL")
	case u.User != nil:
		return hint.Add(errors.New("endpoint may not hold credentials"),
			"Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ?profile=...")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return hint.Add(errors.New("endpoint is no URL of a server"), "Write it like https://minio.example:9000.")
	}
	return nil
}

// known refuses parameters that nobody would heed, and those given twice. It
// names them but not their values: one may be a secret in the wrong place.
func known(values url.Values, keys ...string) error {
	var unknown []string
	for key, all := range values {
		if !slices.Contains(keys, key) {
			unknown = append(unknown, key)
		} else if len(all) > 1 {
			return fmt.Errorf("parameter %q is given twice", key)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return hint.Add(fmt.Errorf("unknown parameter %s", strings.Join(unknown, ", ")),
		"Known are: "+strings.Join(keys, ", ")+".")
}

// String is the location as a URL that Parse reads again.
func (l Location) String() string {
	u, query := url.URL{Scheme: l.Scheme}, url.Values{}
	set := func(key, value string) {
		if value != "" {
			query.Set(key, value)
		}
	}
	switch l.Scheme {
	case "s3":
		u.Host = l.S3.Bucket
		if l.S3.Prefix != "" {
			u.Path = "/" + l.S3.Prefix
		}
		set("region", l.S3.Region)
		set("endpoint", l.S3.Endpoint)
		set("profile", l.S3.Profile)
		set("ca", l.S3.CA)
		set("sse", l.S3.Encryption)
		set("kms_key_id", l.S3.KMSKey)
		set("storage_class", l.S3.StorageClass)
		set("lock", l.S3.Lock)
		set("lock_for", spanText(l.S3.LockFor))
		if !l.AsOf.IsZero() {
			set("as_of", l.AsOf.Format(time.RFC3339Nano))
		}
		if l.S3.PathStyle != (l.S3.Endpoint != "") {
			set("path_style", strconv.FormatBool(l.S3.PathStyle))
		}
	default:
		u.Path = filepath.ToSlash(l.Path)
	}
	set("name", l.name)
	u.RawQuery = query.Encode()
	return u.String()
}

// Name is what a person calls the store: the parameter name, else the region
// or the bucket, else the folder's last element. Two stores may have the same.
func (l Location) Name() string {
	switch {
	case l.name != "":
		return l.name
	case l.Scheme == "s3" && l.S3.Region != "":
		return l.S3.Region
	case l.Scheme == "s3":
		return l.S3.Bucket
	}
	return path.Base(filepath.ToSlash(l.Path))
}

// Open opens the store. It reads the configuration of AWS where that matters,
// but sends the store no request.
func (l Location) Open(ctx context.Context) (storage.Named, error) {
	if l.Scheme != "s3" {
		return storage.Named{Name: l.Name(), Store: fs.Open(l.Path)}, nil
	}
	store, err := s3.Open(ctx, l.S3)
	if err != nil {
		return storage.Named{}, err
	}
	// A region from the environment or the profile names it too, but not the
	// one that merely stands in at a server of one's own.
	if l.S3.Endpoint == "" {
		l.S3.Region = store.Region()
	}
	if !l.AsOf.IsZero() {
		return storage.Named{Name: l.Name(), Store: store.AsOf(l.AsOf)}, nil
	}
	return storage.Named{Name: l.Name(), Store: store}, nil
}

// Open parses a store URL or a folder's path and opens the store.
func Open(ctx context.Context, text string) (storage.Named, error) {
	l, err := Parse(text)
	if err != nil {
		return storage.Named{}, err
	}
	return l.Open(ctx)
}
