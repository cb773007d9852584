package s3

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/slotark/slotark/internal/clock"
)

// Upload is a multipart upload that was begun and has not come to its end: it
// goes on, or what began it was killed.
type Upload struct {
	Name  string
	Begun time.Time // by the server's clock

	id *string
}

// Uploads lists the unfinished uploads below the store's prefix that were begun
// longer ago than a margin.
func (s *Store) Uploads(ctx context.Context, older time.Duration) ([]Upload, error) {
	before := clock.Now().Add(-older)
	var uploads []Upload
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.o.Bucket, Prefix: &s.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list uploads in %s: %w", s.place(), s.explain(ctx, err))
		}
		for _, u := range page.Uploads {
			if begun := aws.ToTime(u.Initiated).UTC(); begun.Before(before) {
				uploads = append(uploads, Upload{strings.TrimPrefix(aws.ToString(u.Key), s.prefix), begun, u.UploadId})
			}
		}
	}
	return uploads, nil
}

// AbortUpload gives an unfinished upload up and deletes its parts. That there
// is no such upload any more is what was wanted.
func (s *Store) AbortUpload(ctx context.Context, u Upload) error {
	p := &put{Store: s, key: s.key(u.Name), upload: u.id}
	if err := p.abort(ctx); err != nil {
		return fmt.Errorf("clean %s in %s: %w", u.Name, s.place(), err)
	}
	return nil
}
