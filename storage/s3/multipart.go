package s3

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/slotark/slotark/internal/grace"
	"github.com/slotark/slotark/storage"
)

const (
	mib = 1 << 20
	// S3 takes at most so many parts for one object.
	maxParts = 10_000
)

// partBytes is the size of a part by its number, from 1. A stream's length is
// not known when it begins, so the parts grow while it goes on: 8 MiB up to
// 16 GiB, 32 MiB up to 78 GiB, 128 MiB up to 328 GiB, 512 MiB up to 1.3 TiB,
// then 2 GiB, so that ten thousand parts hold more than 5 TiB.
func partBytes(number int32) int64 {
	return commonPart << (2 * ((number - 1) / 2000))
}

// multipart stores a body of more than one part.
func (p *put) multipart(ctx context.Context, first []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// Unhurried: an upload whose id was lost could not be aborted.
	commit, done := grace.Extend(ctx, commitGrace)
	created, err := p.client.CreateMultipartUpload(commit, &s3.CreateMultipartUploadInput{
		Bucket: &p.o.Bucket, Key: p.key,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject,
		Metadata:       map[string]string{tokenKey: p.token},
		ObjectLockMode: p.retain.mode, ObjectLockRetainUntilDate: p.retain.until,
		ServerSideEncryption: types.ServerSideEncryption(p.o.Encryption), SSEKMSKeyId: optional(p.o.KMSKey),
		StorageClass: types.StorageClass(p.o.StorageClass),
	})
	done()
	if err != nil {
		return err
	}
	p.upload = created.UploadId
	parts, err := p.sendParts(ctx, first)
	if err != nil {
		return err
	}
	return p.complete(ctx, parts, created.ChecksumType)
}

// sendParts reads the body and sends it, several parts at a time. It returns
// after every part that it has begun to send.
func (p *put) sendParts(ctx context.Context, first []byte) ([]types.CompletedPart, error) {
	var group errgroup.Group
	room := newRoom(p.shared)
	var parts []types.CompletedPart
	results := make(chan types.CompletedPart)
	collected := make(chan struct{})
	go func() {
		for part := range results {
			parts = append(parts, part)
		}
		close(collected)
	}()

	err := p.eachPart(ctx, room, first, func(number int32, data []byte, release func()) {
		group.Go(func() error {
			defer release()
			part, err := p.sendPart(ctx, number, data)
			if err != nil {
				p.stop(err) // ends ctx: the reading and the other parts
				return err
			}
			// Not after a failure: the transport may still be reading.
			giveBack(data)
			results <- part
			return nil
		})
	})
	sendErr := group.Wait()
	close(results)
	<-collected
	// A part that failed has ended the reading, so its error is the cause
	// and the other one only the effect.
	if sendErr != nil {
		return nil, sendErr
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	return parts, nil
}

// eachPart cuts the body into parts and hands them to send, which must call
// release when the part's memory is free again.
func (p *put) eachPart(ctx context.Context, room *room, data []byte, send func(int32, []byte, func())) error {
	release, err := room.acquire(ctx, partBytes(1))
	if err != nil {
		return err
	}
	for number := int32(1); ; number++ {
		p.crc = crc32.Update(p.crc, castagnoli, data)
		send(number, data, release)
		if _, err := p.body.Peek(1); err == io.EOF {
			return nil
		}
		if err := p.bodyError(); err != nil {
			return err
		}
		if number == maxParts {
			return fmt.Errorf("the object is larger than %d parts can hold", maxParts)
		}
		size := partBytes(number + 1)
		// Before the memory is taken, not after.
		if release, err = room.acquire(ctx, size); err != nil {
			return err
		}
		memory := lend(size)
		if data, err = p.fill(memory); err != nil {
			giveBack(memory)
			release()
			return err
		}
	}
}

func (p *put) sendPart(ctx context.Context, number int32, data []byte) (types.CompletedPart, error) {
	if ctx.Err() != nil {
		return types.CompletedPart{}, context.Cause(ctx)
	}
	// Unhurried: a part that was sent but is not stored yet when the upload is
	// aborted may be stored after it, and brings the upload to life again.
	// (S3 documents that one abort may not be enough; versitygw shows it.)
	commit, done := grace.Extend(ctx, commitGrace)
	defer done()
	crc := encodeCRC(crc32.Checksum(data, castagnoli))
	out, err := p.client.UploadPart(commit, &s3.UploadPartInput{
		Bucket: &p.o.Bucket, Key: p.key, UploadId: p.upload, PartNumber: &number,
		Body: storage.Moving(ctx, bytes.NewReader(data)), ContentLength: aws.Int64(int64(len(data))),
		ChecksumCRC32C: crc, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c,
	}, signWith(data), func(o *s3.Options) { o.RetryMaxAttempts = partAttempts })
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32C: crc}, nil
}

func (p *put) complete(ctx context.Context, parts []types.CompletedPart, kind types.ChecksumType) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	input := &s3.CompleteMultipartUploadInput{
		Bucket: &p.o.Bucket, Key: p.key, UploadId: p.upload, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		MpuObjectSize:   aws.Int64(p.src.Bytes()),
	}
	// A server that does not know whole-object checksums says so by not
	// naming the type, and would compare ours with one over the parts'.
	if kind == types.ChecksumTypeFullObject {
		input.ChecksumCRC32C, input.ChecksumType = encodeCRC(p.crc), kind
	}
	commit, done := grace.Extend(ctx, commitGrace)
	defer done()
	p.committing = true
	_, err := p.client.CompleteMultipartUpload(commit, input)
	return err
}
