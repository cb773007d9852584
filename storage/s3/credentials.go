package s3

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// noKeys marks the failure to find credentials, which the SDK reports only in
// words.
type noKeys struct{ error }

func (e noKeys) Unwrap() error { return e.error }

type keys struct{ aws.CredentialsProvider }

func (k keys) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if k.CredentialsProvider == nil {
		return aws.Credentials{}, noKeys{errors.New("none are configured")}
	}
	found, err := k.CredentialsProvider.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = noKeys{err}
	}
	return found, err
}

// expiredCodes are what servers say of credentials that have come to their end.
// To HEAD they cannot say more than 400.
var expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "BadRequest"}

// renewed is asked whether a request may be tried again. One whose credentials
// have expired may, with new ones: a long upload outlives those that it began
// with, and the server may end them before the time that was promised.
func (s *Store) renewed(err error) aws.Ternary {
	if _, code, _ := answer(err); !slices.Contains(expiredCodes, code) {
		return aws.UnknownTernary
	}
	for _, c := range s.remembered {
		c.Invalidate()
	}
	return aws.TrueTernary
}

// remember lets credentials be kept until they expire, or are renewed.
func (s *Store) remember(found aws.CredentialsProvider) aws.CredentialsProvider {
	outer := aws.NewCredentialsCache(keys{found})
	s.remembered = []*aws.CredentialsCache{outer}
	if inner, ok := found.(*aws.CredentialsCache); ok { // the SDK's own keeps them too
		s.remembered = append(s.remembered, inner)
	}
	return outer
}
