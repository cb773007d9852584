package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/contract"
)

// Examine implements [contract.Witness].
func (s *Store) Examine(ctx context.Context, folder string) []contract.Finding {
	return []contract.Finding{s.examineAbort(ctx, folder+"/aborted"), s.examineUploads(ctx), s.examineVersions(ctx), s.examineLock(ctx)}
}

// S3 erases so many versions at one request.
const eraseAtOnce = 1000

const adviceUploads = "Give the bucket a lifecycle rule that aborts incomplete multipart uploads after some days."

// examineAbort begins an upload, sends a part of it, gives it up, and looks
// whether anything of it is left.
func (s *Store) examineAbort(ctx context.Context, name string) contract.Finding {
	f := contract.Finding{Check: "multipart abort", Result: contract.OK, Detail: "leaves nothing"}
	key := s.key(name)
	fail := func(err error) contract.Finding {
		f.Result, f.Detail, f.Advice = contract.Fail, s.explain(ctx, err).Error(), adviceUploads
		return f
	}
	created, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.o.Bucket, Key: key})
	if err != nil {
		return fail(err)
	}
	_, sendErr := s.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &s.o.Bucket, Key: key, UploadId: created.UploadId,
		PartNumber: aws.Int32(1), Body: strings.NewReader("part")})
	p := &put{Store: s, key: key, upload: created.UploadId}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	switch err := p.abort(cleanup); {
	case errors.Is(err, storage.ErrDenied):
		f.Result, f.Detail = contract.Warn, err.Error()
		f.Advice = "Give these credentials s3:AbortMultipartUpload; or give the bucket a lifecycle rule that aborts incomplete multipart uploads."
		return f
	case err != nil:
		return fail(err)
	case sendErr != nil:
		return fail(sendErr)
	}
	_, err = s.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &s.o.Bucket, Key: key, UploadId: created.UploadId})
	if _, code, _ := answer(err); err == nil {
		f.Result, f.Detail, f.Advice = contract.Fail, "the upload is still there after it was aborted", adviceUploads
	} else if code != "NoSuchUpload" {
		f.Result, f.Detail = contract.Warn, "whether it leaves anything is not known: "+s.explain(ctx, err).Error()
		f.Advice = "To tell, these credentials need s3:ListMultipartUploadParts."
	}
	return f
}

// examineUploads counts what killed runs have left.
func (s *Store) examineUploads(ctx context.Context) contract.Finding {
	f := contract.Finding{Check: "unfinished uploads", Result: contract.OK, Detail: "none"}
	uploads, err := s.Uploads(ctx, 24*time.Hour)
	switch {
	case err != nil:
		f.Result, f.Detail, f.Advice = contract.Warn, err.Error(), "To see what killed runs have left, these credentials need s3:ListBucketMultipartUploads."
	case len(uploads) > 0:
		f.Result, f.Detail = contract.Warn, human.Plural(len(uploads), "upload")+" begun more than a day ago: their parts cost money"
		f.Advice = "Remove them: slotark storage clean --apply. " + adviceUploads
	}
	return f
}

func (s *Store) examineVersions(ctx context.Context) contract.Finding {
	f := contract.Finding{Check: "versions", Result: contract.OK}
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.o.Bucket})
	switch {
	case err != nil:
		f.Result, f.Detail, f.Advice = contract.Warn, s.explain(ctx, err).Error(), "To tell, these credentials need s3:GetBucketVersioning."
	case out.Status == types.BucketVersioningStatusEnabled:
		f.Detail = "kept: --as-of shows what was deleted or overwritten"
		f.Advice = "Let a lifecycle rule delete noncurrent versions after as long as you want to look back: they cost like any object."
	case out.Status == types.BucketVersioningStatusSuspended:
		f.Result, f.Detail, f.Advice = contract.Warn, "suspended", "Enable versioning again: what is deleted now is gone."
	default:
		f.Detail = "none: what is deleted is gone"
	}
	return f
}

func (s *Store) examineLock(ctx context.Context) contract.Finding {
	f := contract.Finding{Check: "object lock", Result: contract.OK}
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.o.Bucket})
	_, code, _ := answer(err)
	enabled := err == nil && out.ObjectLockConfiguration != nil && out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled
	switch {
	case err != nil && code != "ObjectLockConfigurationNotFoundError" && code != "NotImplemented":
		f.Result, f.Detail, f.Advice = contract.Warn, s.explain(ctx, err).Error(), "To tell, these credentials need s3:GetBucketObjectLockConfiguration."
	case !enabled && s.o.Lock != "":
		f.Result, f.Detail, f.Advice = contract.Fail, "the store's URL asks for lock="+s.o.Lock+", and the bucket has none", "Make a bucket with Object Lock enabled, or leave lock and lock_for out."
	case !enabled:
		f.Detail = "none: who may delete can delete backups"
	default:
		return s.examineDefault(f, out.ObjectLockConfiguration.Rule)
	}
	return f
}

// examineDefault is for a bucket with Object Lock: does it lock by itself?
func (s *Store) examineDefault(f contract.Finding, rule *types.ObjectLockRule) contract.Finding {
	if rule != nil && rule.DefaultRetention != nil {
		span := fmt.Sprintf("%d days", aws.ToInt32(rule.DefaultRetention.Days))
		if years := aws.ToInt32(rule.DefaultRetention.Years); years > 0 {
			span = human.Plural(int(years), "year")
		}
		f.Result, f.Detail = contract.Warn, fmt.Sprintf("the bucket's default retention (%s, %s) locks temporary objects too", strings.ToLower(string(rule.DefaultRetention.Mode)), span)
		f.Advice = "Remove the default retention: lock=... and lock_for=... in the store's URL lock snapshots, and nothing else."
		return f
	}
	f.Detail = "the bucket can lock"
	if s.o.Lock == "" {
		f.Advice = "To lock snapshots, add lock=governance&lock_for=30d to the store's URL."
		return f
	}
	f.Detail += fmt.Sprintf(": snapshots are locked (%s) for %s", s.o.Lock, human.Age(s.o.LockFor))
	if s.o.Kept > 0 && s.o.LockFor > s.o.Kept {
		f.Result = contract.Warn
		f.Detail += fmt.Sprintf(", and for sure kept for %s alone: what no rule keeps stays until its lock ends, and costs", human.Age(s.o.Kept))
		f.Advice = "Leave lock_for out of the store's URL: then the lock lasts as long as the rules keep each snapshot for sure."
	}
	return f
}

// Erase implements [contract.Eraser]: it removes the versions and markers that
// deletions leave in a bucket that keeps them.
func (s *Store) Erase(ctx context.Context, folder string) (left int, first error) {
	past := s.AsOf(time.Time{})
	if past.haveVersions(ctx) != nil {
		return 0, nil // it keeps none, or does not say: deleted is all that can be had
	}
	var all []types.ObjectIdentifier
	for v, err := range past.versions(ctx, folder+"/") {
		if err != nil {
			return 0, err
		}
		all = append(all, types.ObjectIdentifier{Key: s.key(v.name), VersionId: v.id})
	}
	for batch := range slices.Chunk(all, eraseAtOnce) {
		out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &s.o.Bucket, Delete: &types.Delete{Objects: batch, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return len(all), s.explain(ctx, err)
		}
		left += len(out.Errors)
		if len(out.Errors) > 0 && first == nil {
			first = fmt.Errorf("erase %s: %s", aws.ToString(out.Errors[0].Key), oneLine(0, aws.ToString(out.Errors[0].Code), aws.ToString(out.Errors[0].Message)))
		}
	}
	return left, first
}
