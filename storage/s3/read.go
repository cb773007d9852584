package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/storage"
)

// Open implements [storage.Store]. Where the server keeps a checksum of the
// whole object, reading to the end compares it.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	body, err := s.open(ctx, name, nil)
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", name, s.place(), err)
	}
	return body, nil
}

// open opens one version of an object, or the current one.
func (s *Store) open(ctx context.Context, name string, version *string) (io.ReadCloser, error) {
	return s.get(ctx, name, &s3.GetObjectInput{VersionId: version, ChecksumMode: types.ChecksumModeEnabled})
}

// OpenAt implements [storage.RangeOpener].
func (s *Store) OpenAt(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	body, err := s.openAt(ctx, name, nil, offset, length)
	if err != nil {
		return nil, fmt.Errorf("open a part of %s in %s: %w", name, s.place(), err)
	}
	return body, nil
}

func (s *Store) openAt(ctx context.Context, name string, version *string, offset, length int64) (io.ReadCloser, error) {
	if err := storage.CheckRange(offset, length, math.MaxInt64); err != nil {
		return nil, err
	}
	body, err := s.get(ctx, name, &s3.GetObjectInput{
		VersionId: version, Range: aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)),
	})
	if status, code, _ := answer(err); status == http.StatusRequestedRangeNotSatisfiable || code == "InvalidRange" {
		return nil, fmt.Errorf("%w: it ends before byte %d", storage.ErrRange, offset)
	}
	// A part that ends with the object is answered shorter than it was asked
	// for; a server that knows no ranges answers with the whole.
	if r, ok := body.(*reader); ok && r.left != length {
		return nil, errors.Join(fmt.Errorf("%w: %d bytes from byte %d were asked for, and %d answered", storage.ErrRange, length, offset, r.left), body.Close())
	}
	return body, err
}

// get sends a request for an object or a part of it.
func (s *Store) get(ctx context.Context, name string, in *s3.GetObjectInput) (io.ReadCloser, error) {
	if err := storage.CheckName(name); err != nil {
		return nil, err
	}
	in.Bucket, in.Key = &s.o.Bucket, s.key(name)
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	s.bucketSeen.Store(true)
	if out.ContentLength == nil {
		return nil, errors.Join(errors.New("the server does not say how long the object is"), out.Body.Close())
	}
	return &reader{ctx: ctx, store: s, name: name, body: out.Body, left: *out.ContentLength}, nil
}

// reader gives exactly as many bytes as the server has announced, or an error.
type reader struct {
	ctx   context.Context
	store *Store
	name  string
	body  io.ReadCloser
	left  int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF && r.left == 0:
		return n, io.EOF
	case err == io.EOF:
		err = fmt.Errorf("%d bytes are missing: %w", r.left, io.ErrUnexpectedEOF)
	default:
		err = r.store.explain(r.ctx, err)
	}
	return n, fmt.Errorf("read %s from %s: %w", r.name, r.store.place(), err)
}

func (r *reader) Close() error { return r.body.Close() }

// Stat implements [storage.Store].
func (s *Store) Stat(ctx context.Context, name string) (storage.Object, error) {
	object, err := s.head(ctx, name)
	if err != nil {
		return storage.Object{}, fmt.Errorf("stat %s in %s: %w", name, s.place(), err)
	}
	return object, nil
}

func (s *Store) head(ctx context.Context, name string) (storage.Object, error) {
	if err := storage.CheckName(name); err != nil {
		return storage.Object{}, err
	}
	out, err := s.headObject(ctx, name, nil)
	if err != nil {
		return storage.Object{}, err
	}
	return object(name, out), nil
}

// headObject asks for the metadata of one version of an object, or of the
// current one; its error is explained.
func (s *Store) headObject(ctx context.Context, name string, version *string) (*s3.HeadObjectOutput, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.o.Bucket, Key: s.key(name), VersionId: version, ChecksumMode: types.ChecksumModeEnabled,
	})
	if err == nil {
		s.bucketSeen.Store(true)
		return out, nil
	}
	err = s.explain(ctx, err)
	if errors.Is(err, storage.ErrNotFound) && !s.bucketSeen.Load() {
		if bucketErr := s.findBucket(ctx); bucketErr != nil {
			return nil, bucketErr
		}
	}
	return nil, err
}

// findBucket is an error if a missing object is to be blamed on something
// larger: no bucket, no such user. It lists, because only the answer to a
// request that has a body says which. Who may not list may still read.
func (s *Store) findBucket(ctx context.Context) error {
	_, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.o.Bucket, Prefix: &s.prefix, MaxKeys: aws.Int32(1)})
	if err == nil {
		s.bucketSeen.Store(true)
		return nil
	}
	if _, code, _ := answer(err); code == "AccessDenied" {
		return nil
	}
	return s.explain(ctx, err)
}

func object(name string, out *s3.HeadObjectOutput) storage.Object {
	return storage.Object{Name: name, Bytes: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified).UTC(),
		LockedUntil: lockedUntil(out)}
}

// Delete implements [storage.Store]. In a bucket with versions it puts a delete
// marker before the object, which stays below it until a lifecycle rule takes
// it away.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.delete(ctx, name); err != nil {
		return fmt.Errorf("delete %s in %s: %w", name, s.place(), err)
	}
	return nil
}

func (s *Store) delete(ctx context.Context, name string) error {
	if err := storage.CheckName(name); err != nil {
		return err
	}
	// S3 calls the deletion of a missing object a success, and hides a locked
	// one behind a marker: so both are asked for first.
	out, err := s.headObject(ctx, name, nil)
	if err != nil {
		return err
	}
	if err := locked(out); err != nil {
		return err
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.o.Bucket, Key: s.key(name)})
	return s.explain(ctx, err)
}

// List implements [storage.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		fail := func(err error) {
			yield(storage.Object{}, fmt.Errorf("list %q in %s: %w", prefix, s.place(), err))
		}
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.o.Bucket, Prefix: s.key(prefix),
		})
		last := ""
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				fail(s.explain(ctx, err))
				return
			}
			s.bucketSeen.Store(true)
			for _, entry := range page.Contents {
				name := strings.TrimPrefix(aws.ToString(entry.Key), s.prefix)
				// Consoles make "folders": empty objects whose name ends in "/".
				if storage.CheckName(name) != nil {
					continue
				}
				if name <= last {
					fail(fmt.Errorf("the server lists %q after %q: not in order", name, last))
					return
				}
				last = name
				if !yield(storage.Object{Name: name, Bytes: aws.ToInt64(entry.Size), Modified: aws.ToTime(entry.LastModified).UTC()}, nil) {
					return
				}
			}
		}
	}
}
