package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
)

// The modes of S3 Object Lock. Who has the right to may end a lock of
// Governance before its date; nobody ends one of Compliance.
const (
	Governance = "governance"
	Compliance = "compliance"
)

// retention is the lock that an object is stored with. Its zero value is none.
type retention struct {
	mode  types.ObjectLockMode
	until *time.Time
}

// retention is computed anew for each Put, from the time that the object's
// name stands for and not from when it is stored: a mirror that gets it a week
// later keeps it no longer than the primary.
func (s *Store) retention(name string) retention {
	if s.o.Lock == "" {
		return retention{}
	}
	since, lock := s.o.LockSince(name)
	// S3 takes whole seconds, and no date that has passed.
	until := since.Add(s.o.LockFor).UTC().Truncate(time.Second)
	if !lock || !until.After(clock.Now()) {
		return retention{}
	}
	return retention{types.ObjectLockMode(strings.ToUpper(s.o.Lock)), &until}
}

// lockedUntil is when an object's lock ends, as far as the server says: it
// does so only to who may read retentions.
func lockedUntil(out *s3.HeadObjectOutput) time.Time {
	until := aws.ToTime(out.ObjectLockRetainUntilDate).UTC()
	if out.ObjectLockMode == "" || !until.After(clock.Now()) {
		return time.Time{}
	}
	return until
}

// locked is an error if an object may not be deleted yet.
func locked(out *s3.HeadObjectOutput) error {
	if until := lockedUntil(out); !until.IsZero() {
		return &storage.LockedError{Until: until}
	}
	if out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn {
		return hint.Add(&storage.LockedError{}, "It is under a legal hold: end that with your S3 tool.")
	}
	return nil
}

// confirmLock checks that an object has got the lock it was stored with. told
// is what its HEAD said. Some servers take a lock's headers and heed them not.
func (p *put) confirmLock(ctx context.Context, told time.Time) (time.Time, error) {
	if p.retain.until == nil {
		return told, nil
	}
	if told.IsZero() {
		out, err := p.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &p.o.Bucket, Key: p.key})
		if err = p.explain(ctx, err); errors.Is(err, storage.ErrDenied) {
			return *p.retain.until, nil // not allowed to ask: the server's yes to the Put has to do
		}
		if err != nil {
			return told, noLock(err)
		}
		if out.Retention != nil {
			told = aws.ToTime(out.Retention.RetainUntilDate).UTC()
		}
	}
	if told.Before(*p.retain.until) {
		return told, noLock(errors.New("the server has stored the object without the lock"))
	}
	return told, nil
}

// explainLock knows the answers that have to do with locks. Their codes are
// those of other refusals.
func (s *Store) explainLock(err error, message string) error {
	text := strings.ReplaceAll(strings.ToLower(message), " ", "")
	switch {
	case strings.Contains(text, "protectedbyobjectlock"):
		return &fault{storage.ErrLocked.Error(), &storage.LockedError{}, err}
	case strings.Contains(text, "missingobjectlock"):
		return noLock(&fault{fmt.Sprintf("bucket %q is without Object Lock", s.o.Bucket), nil, err})
	}
	return nil
}

func noLock(err error) error {
	return hint.Add(err, "Make the bucket with Object Lock enabled, or leave lock and lock_for out of the store's URL.")
}
