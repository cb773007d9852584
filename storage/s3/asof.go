package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
)

// Past is a bucket with versions as it was at an earlier instant: what was
// deleted or overwritten since is there, what was stored since is not. It
// cannot be written.
type Past struct {
	*Store
	at        time.Time
	versioned atomic.Bool // the bucket was asked, and keeps versions
}

// AsOf returns the store as it was at an instant. It sends no request.
func (s *Store) AsOf(at time.Time) *Past { return &Past{Store: s, at: at.UTC()} }

// haveVersions is an error if the bucket keeps no versions: what is missing
// there would look as if it had never been.
func (p *Past) haveVersions(ctx context.Context) error {
	if p.versioned.Load() {
		return nil
	}
	out, err := p.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &p.o.Bucket})
	if err != nil {
		return p.explainPast(ctx, err)
	}
	if out.Status == "" {
		return hint.Add(errors.New("the bucket keeps no versions, so nothing says what was in it then"),
			"Read it as it is now; and enable versioning for the next time.")
	}
	p.versioned.Store(true)
	return nil
}

// String implements [storage.Store]. The instant is part of it: what is read
// here may differ from what is there now under the same name.
func (p *Past) String() string {
	u, err := url.Parse(p.Store.String())
	if err != nil { // it was made by url.URL
		return p.Store.String()
	}
	query := u.Query()
	query.Set("as_of", p.at.Format(time.RFC3339Nano))
	u.RawQuery = query.Encode()
	return u.String()
}

// Put implements [storage.Store] by refusing.
func (p *Past) Put(_ context.Context, name string, _ io.Reader) (storage.Object, error) {
	return storage.Object{}, p.readOnly("put", name)
}

// Delete implements [storage.Store] by refusing.
func (p *Past) Delete(_ context.Context, name string) error { return p.readOnly("delete", name) }

func (p *Past) readOnly(verb, name string) error {
	return hint.Add(fmt.Errorf("%s %s in %s: %w: it is shown as it was", verb, name, p.place(), storage.ErrReadOnly),
		"Leave as_of out to write to the store as it is now.")
}

// Open implements [storage.Store].
func (p *Past) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	version, err := p.find(ctx, name)
	if err == nil {
		var body io.ReadCloser
		if body, err = p.open(ctx, name, version); err == nil {
			return body, nil
		}
	}
	return nil, fmt.Errorf("open %s in %s: %w", name, p.place(), err)
}

// OpenAt implements [storage.RangeOpener].
func (p *Past) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	version, err := p.find(ctx, name)
	if err == nil {
		var body io.ReadCloser
		if body, err = p.openAt(ctx, name, version, offset, length); err == nil {
			return body, nil
		}
	}
	return nil, fmt.Errorf("open a part of %s in %s: %w", name, p.place(), err)
}

// Stat implements [storage.Store].
func (p *Past) Stat(ctx context.Context, name string) (storage.Object, error) {
	version, err := p.find(ctx, name)
	if err == nil {
		var out *s3.HeadObjectOutput
		if out, err = p.headObject(ctx, name, version); err == nil {
			return object(name, out), nil
		}
	}
	return storage.Object{}, fmt.Errorf("stat %s in %s: %w", name, p.place(), err)
}

// find is the version of one name that was current at the instant.
func (p *Past) find(ctx context.Context, name string) (*string, error) {
	if err := storage.CheckName(name); err != nil {
		return nil, err
	}
	// All versions of the name come before any longer name.
	for v, err := range p.current(ctx, name) {
		switch {
		case err != nil:
			return nil, err
		case v.name == name:
			return v.id, nil
		}
		break
	}
	return nil, storage.ErrNotFound
}

// List implements [storage.Store].
func (p *Past) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for v, err := range p.current(ctx, prefix) {
			if err != nil {
				yield(storage.Object{}, fmt.Errorf("list %q in %s: %w", prefix, p.place(), err))
				return
			}
			if storage.CheckName(v.name) != nil {
				continue
			}
			if !yield(storage.Object{Name: v.name, Bytes: v.bytes, Modified: v.modified}, nil) {
				return
			}
		}
	}
}

// version is one state of a name: an object, or that it was deleted.
type version struct {
	name     string
	id       *string
	modified time.Time
	bytes    int64
	deleted  bool
	latest   bool
}

// current gives, for each name with the prefix, the version that was current
// at the instant, in ascending order of names. Names that had been deleted, or
// did not exist yet, are left out.
func (p *Past) current(ctx context.Context, prefix string) iter.Seq2[version, error] {
	return func(yield func(version, error) bool) {
		// A name's versions may go on from one page to the next.
		var best version
		last, held := "", false
		give := func() bool { return !held || best.deleted || yield(best, nil) }
		for v, err := range p.versions(ctx, prefix) {
			if err == nil && v.name < last {
				err = fmt.Errorf("the server lists %q after %q: not in order", v.name, last)
			}
			if err != nil {
				yield(version{}, err)
				return
			}
			if v.name != last {
				if !give() {
					return
				}
				last, held = v.name, false
			}
			if v.modified.After(p.at) {
				continue
			}
			if !held || v.follows(best) {
				best, held = v, true
			}
		}
		give()
	}
}

// follows tells whether v came after another version of its name. Servers tell
// times in whole seconds; of two in one second that are neither the latest, an
// object is preferred to a deletion: better too much is shown than too little.
func (v version) follows(other version) bool {
	if c := v.modified.Compare(other.modified); c != 0 {
		return c > 0
	}
	if v.latest != other.latest {
		return v.latest
	}
	return other.deleted && !v.deleted
}

// versions gives all versions and deletions of the names with the prefix: name
// by name, of each the newest first.
func (p *Past) versions(ctx context.Context, prefix string) iter.Seq2[version, error] {
	return func(yield func(version, error) bool) {
		if err := p.haveVersions(ctx); err != nil {
			yield(version{}, err)
			return
		}
		pages := s3.NewListObjectVersionsPaginator(p.client, &s3.ListObjectVersionsInput{Bucket: &p.o.Bucket, Prefix: p.key(prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(version{}, p.explainPast(ctx, err))
				return
			}
			p.bucketSeen.Store(true)
			for _, v := range p.ofPage(page.Versions, page.DeleteMarkers) {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// ofPage merges the two lists that a page comes in.
func (p *Past) ofPage(objects []types.ObjectVersion, markers []types.DeleteMarkerEntry) []version {
	all := make([]version, 0, len(objects)+len(markers))
	name := func(key *string) string { return strings.TrimPrefix(aws.ToString(key), p.prefix) }
	for _, o := range objects {
		all = append(all, version{name: name(o.Key), id: o.VersionId, modified: made(o.VersionId, o.LastModified),
			bytes: aws.ToInt64(o.Size), latest: aws.ToBool(o.IsLatest)})
	}
	for _, m := range markers {
		all = append(all, version{name: name(m.Key), id: m.VersionId, modified: made(m.VersionId, m.LastModified),
			deleted: true, latest: aws.ToBool(m.IsLatest)})
	}
	slices.SortStableFunc(all, func(a, b version) int { return cmp.Compare(a.name, b.name) })
	return all
}

// made is when a version came to be. What versitygw gives as the time of a
// version is that of a file: of one that is not the latest, when it was
// replaced; of a deletion, when the object was stored. But its ids are ULIDs,
// whose first ten characters are the milliseconds at which they were made. The
// ids of S3 (32 characters) and MinIO (36) cannot be taken for one.
func made(id *string, modified *time.Time) time.Time {
	const digits, idLength, timeLength = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26, 10
	told := aws.ToTime(modified).UTC()
	if len(aws.ToString(id)) != idLength {
		return told
	}
	var millis int64
	for i, c := range *id {
		digit := strings.IndexRune(digits, c)
		if digit < 0 {
			return told
		}
		if i < timeLength {
			millis = millis<<5 | int64(digit)
		}
	}
	return time.UnixMilli(millis).UTC()
}

// explainPast names the rights that only a view of the past needs.
func (s *Store) explainPast(ctx context.Context, err error) error {
	if err = s.explain(ctx, err); errors.Is(err, storage.ErrDenied) {
		return hint.Add(err, "To read a bucket as it was, these credentials also need s3:GetBucketVersioning, s3:ListBucketVersions and s3:GetObjectVersion.")
	}
	return err
}
