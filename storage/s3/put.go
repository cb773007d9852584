package s3

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slotark/slotark/internal/grace"
	"github.com/slotark/slotark/storage"
	"github.com/slotark/slotark/storage/internal/source"
)

const (
	// tokenKey is where in an object's metadata the token of its Put is.
	tokenKey = "slotark-put"

	// A request whose outcome decides whether the object exists is given so
	// long to answer after ctx has ended: a known outcome needs no clean-up.
	commitGrace = 3 * time.Second
	// Clean-up after a failed Put is given so long.
	cleanupLimit = 30 * time.Second
	// So often a PutObject is tried when the server reports a conflict with
	// another writer of the same name and then holds nothing under it.
	conflictAttempts = 3
	// So often a server is asked for what it has called stored and does not
	// show: with the pauses between, for about as long as MaxBackoff.
	confirmAttempts = 5
)

// smallBody is what is read before a part's memory is taken: a manifest fits.
const smallBody = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// put is one Put on its way.
type put struct {
	*Store
	name  string
	key   *string
	token string
	src   *source.Reader // knows the body's own error
	body  *bufio.Reader  // over src; tells the end before it is reached

	stop context.CancelCauseFunc // ends the reading of body

	crc        uint32    // of everything sent so far
	retain     retention // the lock it is stored with, if any
	upload     *string   // id of the multipart upload, once there is one
	committing bool      // the request that makes the object visible was sent
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	object, err := s.put(ctx, name, body)
	if err != nil {
		return storage.Object{}, fmt.Errorf("put %s to %s: %w", name, s.place(), err)
	}
	return object, nil
}

func (s *Store) put(ctx context.Context, name string, body io.Reader) (storage.Object, error) {
	if err := storage.CheckName(name); err != nil {
		return storage.Object{}, err
	}
	switch _, err := s.head(ctx, name); {
	case err == nil:
		return storage.Object{}, storage.ErrExists
	case !errors.Is(err, storage.ErrNotFound):
		return storage.Object{}, err
	}
	sending, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	src := source.New(sending, body)
	p := &put{Store: s, name: name, key: s.key(name), token: rand.Text(), src: src, body: bufio.NewReader(src), stop: stop,
		retain: s.retention(name)}
	first, err := p.fillFirst()
	if err != nil {
		return storage.Object{}, err
	}
	if _, err := p.body.Peek(1); err == io.EOF {
		if err = p.single(ctx, first); err == nil {
			giveBack(first)
		}
		return p.settle(ctx, err)
	}
	if err := p.bodyError(); err != nil {
		return storage.Object{}, err
	}
	err = p.multipart(sending, first)
	return p.settle(ctx, err)
}

// single stores a body that fits into one part.
func (p *put) single(ctx context.Context, data []byte) error {
	p.crc = crc32.Checksum(data, castagnoli)
	var err error
	for range conflictAttempts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.committing = true
		commit, done := grace.Extend(ctx, commitGrace)
		_, err = p.client.PutObject(commit, &s3.PutObjectInput{
			Bucket: &p.o.Bucket, Key: p.key, IfNoneMatch: aws.String("*"),
			Body: storage.Moving(ctx, bytes.NewReader(data)), ContentLength: aws.Int64(int64(len(data))),
			ChecksumCRC32C: encodeCRC(p.crc), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c,
			Metadata:       map[string]string{tokenKey: p.token},
			ObjectLockMode: p.retain.mode, ObjectLockRetainUntilDate: p.retain.until,
			ServerSideEncryption: types.ServerSideEncryption(p.o.Encryption), SSEKMSKeyId: optional(p.o.KMSKey),
			StorageClass: types.StorageClass(p.o.StorageClass),
		}, signWith(data))
		done()
		if _, code, _ := answer(err); code != "ConditionalRequestConflict" {
			break
		}
		// Two writers at the same instant may both be told of a conflict.
		// Somebody has to win, so whoever finds nothing tries again.
		if _, headErr := p.head(ctx, p.name); !errors.Is(headErr, storage.ErrNotFound) {
			break
		}
	}
	return err
}

// fillFirst reads the first part into a buffer that grows with the body: most
// objects are small, and eight shards are put at once.
func (p *put) fillFirst() ([]byte, error) {
	small, err := p.fill(make([]byte, smallBody))
	if err != nil || len(small) < smallBody {
		return small, err
	}
	memory := lend(partBytes(1))
	rest, err := p.fill(memory[copy(memory, small):])
	if err != nil {
		giveBack(memory)
		return nil, err
	}
	return memory[:smallBody+len(rest)], nil
}

// fill reads the next part. A short part is the last one.
func (p *put) fill(buffer []byte) ([]byte, error) {
	n, err := io.ReadFull(p.body, buffer)
	// io.ReadFull says io.ErrUnexpectedEOF for a short last part, and a body
	// may fail with just that. Only src knows which it was.
	if bodyErr := p.bodyError(); bodyErr != nil {
		return nil, bodyErr
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, p.readError(err)
	}
	return buffer[:n], nil
}

func (p *put) bodyError() error {
	if err := p.src.Err(); err != nil {
		return p.readError(err)
	}
	return nil
}

func (p *put) readError(err error) error {
	return &bodyFault{fmt.Errorf("read body: %w", err)}
}

// bodyFault marks an error that is not the server's.
type bodyFault struct{ error }

func (b *bodyFault) Unwrap() error { return b.error }

// optional is a text for the protocol, which leaves out what is "".
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// encodeCRC is a CRC as the protocol writes it: big-endian, base64.
func encodeCRC(crc uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc)))
}
