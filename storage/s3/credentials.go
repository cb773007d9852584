package s3

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// noKeys marks the failure to find credentials, which the SDK reports only in
// words.
type noKeys struct{ error }

func (e noKeys) Unwrap() error { return e.error }

// keys finds credentials, and marks the failure to.
type keys struct {
	aws.CredentialsProvider
	last atomic.Pointer[aws.Credentials] // those found last, unless a server has refused them
}

func (k *keys) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if k.CredentialsProvider == nil {
		return aws.Credentials{}, noKeys{errors.New("none are configured")}
	}
	found, err := k.CredentialsProvider.Retrieve(ctx)
	if err == nil {
		k.last.Store(&found)
		return found, nil
	}
	if ctx.Err() != nil {
		return found, err
	}
	// New ones were only asked for on a suspicion: a source that is silent for
	// a moment ends no upload whose credentials are good.
	if last := k.last.Load(); last != nil && !last.Expired() {
		return *last, nil
	}
	return found, noKeys{err}
}

// expiredCodes are what servers say of credentials that have come to their end.
// To HEAD they cannot say more than 400.
var expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "BadRequest"}

// cutOff tells a connection that the server has closed under a request. One
// that refuses a request before it has come whole, as one with credentials that
// have expired, closes it, and whoever was still sending may never see why.
func cutOff(err error) bool {
	for _, closed := range []error{syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, closed) {
			return true
		}
	}
	return false
}

// renewed is asked whether a request may be tried again. One whose credentials
// have expired may, with new ones: a long upload outlives those that it began
// with, and the server may end them before the time that was promised. One that
// was cut off may have had that cause, so new ones are asked for too.
func (s *Store) renewed(err error) aws.Ternary {
	_, code, _ := answer(err)
	expired := slices.Contains(expiredCodes, code)
	if !expired && (code != "" || !cutOff(err)) {
		return aws.UnknownTernary
	}
	if expired {
		s.found.last.Store(nil)
	}
	for _, c := range s.remembered {
		c.Invalidate()
	}
	return aws.TrueTernary
}

// remember lets credentials be kept until they expire, or are renewed.
func (s *Store) remember(found aws.CredentialsProvider) aws.CredentialsProvider {
	s.found = &keys{CredentialsProvider: found}
	outer := aws.NewCredentialsCache(s.found)
	s.remembered = []*aws.CredentialsCache{outer}
	if inner, ok := found.(*aws.CredentialsCache); ok { // the SDK's own keeps them too
		s.remembered = append(s.remembered, inner)
	}
	return outer
}
