package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
)

// settle finds out how a Put has really ended, whatever the server said, and
// leaves either the whole object or nothing. err is what sending it gave.
//
// It works on after ctx has ended, for at most cleanupLimit.
func (p *put) settle(ctx context.Context, err error) (storage.Object, error) {
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	if err == nil {
		object, err := p.confirmInTime(cleanup)
		if err != nil {
			return storage.Object{}, both(err, p.remove(cleanup))
		}
		return object, nil
	}
	// The answer may be lost, or belong to the second of two equal requests
	// of which the first was carried out.
	doubtful := p.committing && mayHaveCommitted(err)
	var unfit error // what is wrong with the object that this Put has made all the same
	if doubtful {
		object, found, fault := p.mine(cleanup)
		if found && fault == nil {
			return object, nil
		}
		unfit = fault
	}
	var cleanErr error
	if p.upload != nil {
		cleanErr = p.abort(cleanup)
		if doubtful {
			// The completion may still have been at work and have won
			// against the abort.
			object, found, fault := p.mine(cleanup)
			if found && fault == nil {
				return object, nil
			}
			if fault != nil {
				unfit = fault
			}
		}
	}
	if unfit != nil || p.committing && p.retain.until != nil {
		// Servers have been seen that refuse the lock after they have stored
		// the object.
		if removeErr := p.remove(cleanup); cleanErr == nil {
			cleanErr = removeErr
		}
	}
	if body := (*bodyFault)(nil); !errors.As(err, &body) {
		err = p.explain(ctx, err)
	}
	return storage.Object{}, both(both(err, unfit), cleanErr)
}

// both is one line, where errors.Join makes two.
func both(err, second error) error {
	if second == nil {
		return err
	}
	return fmt.Errorf("%w; %w", err, second)
}

// mayHaveCommitted tells whether the server may have carried out a commit
// that failed. Refusals are final, but for those that a repeated request gets:
// "taken" and "no such upload".
func mayHaveCommitted(err error) bool {
	switch status, _, _ := answer(err); status {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed:
		return true
	default:
		return status < 400 || status >= 500
	}
}

// mine is the object, if it is the one this Put has made. The fault is in what
// it is other than was wanted.
func (p *put) mine(ctx context.Context) (o storage.Object, found bool, fault error) {
	out, err := p.headObject(ctx, p.name, nil)
	if err != nil || out.Metadata[tokenKey] != p.token {
		return storage.Object{}, false, nil
	}
	if err := p.compare(out); err != nil {
		return storage.Object{}, true, err
	}
	o = object(p.name, out)
	o.LockedUntil, err = p.confirmLock(ctx, o.LockedUntil)
	return o, true, err
}

// confirmInTime is confirm for servers that call an object stored a moment before
// they show it: a completion that was sent twice, because the first answer was
// late, is answered while the first is still at work.
func (p *put) confirmInTime(ctx context.Context) (storage.Object, error) {
	for try := 1; ; try++ {
		object, err := p.confirm(ctx)
		if try == confirmAttempts || !errors.Is(err, storage.ErrNotFound) {
			return object, err
		}
		timer := time.NewTimer(p.o.MaxBackoff >> (confirmAttempts - try))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return object, err
		}
	}
}

// confirm asks the server for what it has stored and compares.
func (p *put) confirm(ctx context.Context) (storage.Object, error) {
	out, err := p.headObject(ctx, p.name, nil)
	if err != nil {
		return storage.Object{}, fmt.Errorf("confirm it is stored: %w", err)
	}
	if token, there := out.Metadata[tokenKey]; there && token != p.token {
		// It was not the condition that has failed but the server.
		return storage.Object{}, storage.ErrExists
	}
	if err := p.compare(out); err != nil {
		return storage.Object{}, fmt.Errorf("confirm it is stored: %w", err)
	}
	object := object(p.name, out)
	if object.LockedUntil, err = p.confirmLock(ctx, object.LockedUntil); err != nil {
		return storage.Object{}, fmt.Errorf("confirm it is locked: %w", err)
	}
	return object, nil
}

func (p *put) compare(out *s3.HeadObjectOutput) error {
	if got := aws.ToInt64(out.ContentLength); got != p.src.Bytes() {
		return fmt.Errorf("the server holds %d bytes of %d", got, p.src.Bytes())
	}
	// Servers without whole-object checksums give none, or one over the
	// parts' that ends in their number.
	if got := aws.ToString(out.ChecksumCRC32C); len(got) == len(*encodeCRC(0)) && got != *encodeCRC(p.crc) {
		return fmt.Errorf("the server's CRC32C is %s, that of what was sent %s", got, *encodeCRC(p.crc))
	}
	return nil
}

// remove deletes an object that the server has called stored but could not
// confirm. It deletes only what bears this Put's token.
func (p *put) remove(ctx context.Context) error {
	out, err := p.headObject(ctx, p.name, nil)
	if errors.Is(err, storage.ErrNotFound) || err == nil && out.Metadata[tokenKey] != p.token {
		return nil
	}
	if err == nil {
		_, err = p.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.o.Bucket, Key: p.key})
		err = p.explain(ctx, err)
	}
	if err != nil {
		return fmt.Errorf("remove it again: %w", err)
	}
	return nil
}

// abort gives up the multipart upload and what was sent of it. That there is
// no such upload any more is what was wanted.
func (p *put) abort(ctx context.Context) error {
	_, err := p.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &p.o.Bucket, Key: p.key, UploadId: p.upload,
	})
	if _, code, _ := answer(err); err == nil || code == "NoSuchUpload" {
		return nil
	}
	return hint.Add(fmt.Errorf("abort the upload: %w", p.explain(ctx, err)),
		"Parts may be left and cost money: give the bucket a lifecycle rule that aborts incomplete multipart uploads.")
}
