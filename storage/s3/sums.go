package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// signWith makes the SHA-256 of a request's body part of its signature, so that
// the server compares it with what has come. Without TLS the SDK does so itself;
// over TLS it would sign none, and whatever ends the TLS before the server could
// change the bytes.
func signWith(data []byte) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("SignPayload",
				func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
					sum := sha256.Sum256(data)
					return next.HandleInitialize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
				}), middleware.Before)
		})
	}
}

// alteredCodes are what servers say of a body whose sums are not those that the
// request has announced.
var alteredCodes = []string{"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}

// altered is asked whether a request may be tried again. One whose bytes were
// changed on the way may: none of them are stored.
func altered(err error) aws.Ternary {
	if _, code, _ := answer(err); slices.Contains(alteredCodes, code) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}
