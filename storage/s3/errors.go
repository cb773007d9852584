package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
)

const (
	hintKeys   = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with ?profile=..., or attach a role to this machine."
	hintRights = "Give these credentials s3:PutObject, s3:GetObject, s3:ListBucket and s3:AbortMultipartUpload on the bucket (and s3:DeleteObject to those that prune)."
)

// fault is an error of the SDK in one clear line. The SDK's own has several,
// with request ids and the history of its attempts; errors.As still finds it.
type fault struct {
	text  string
	is    error // a sentinel of package storage, or nil
	cause error
}

func (f *fault) Error() string { return f.text }

func (f *fault) Unwrap() []error {
	if f.is == nil {
		return []error{f.cause}
	}
	return []error{f.is, f.cause}
}

// explain turns an error of the SDK into one of package storage, with what a
// person can do about it. Other errors come back as they are.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if known := (*fault)(nil); errors.As(err, &known) {
		return err
	}
	if missing := (noKeys{}); errors.As(err, &missing) {
		return hint.Add(&fault{"no AWS credentials were found", storage.ErrDenied, err}, hintKeys)
	}
	if status, code, message := answer(err); status != 0 || code != "" {
		return s.explainAnswer(err, status, code, message)
	}
	return s.explainNetwork(err)
}

// refused is the error that explain gives for a code.
func (s *Store) refused(err error, code string) error { return s.explainAnswer(err, 0, code, "") }

// answer is what the server said, if it said anything.
func answer(err error) (status int, code, message string) {
	if response := (*awshttp.ResponseError)(nil); errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	if api := smithy.APIError(nil); errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	return status, code, message
}

func (s *Store) explainAnswer(err error, status int, code, message string) error {
	if known := s.explainLock(err, message); known != nil {
		return known
	}
	if slices.Contains(alteredCodes, code) {
		return hint.Add(&fault{"the bytes were changed on the way to the server, which answered " + oneLine(status, code, message), nil, err},
			"Check this machine's memory and network card, and any proxy before the server.")
	}
	switch code {
	case "NoSuchBucket":
		return hint.Add(&fault{fmt.Sprintf("bucket %q does not exist", s.o.Bucket), storage.ErrNoStore, err},
			"Check the bucket's name and region, or create the bucket.")
	case "NoSuchKey", "NotFound", "NoSuchVersion":
		return &fault{storage.ErrNotFound.Error(), storage.ErrNotFound, err}
	case "PreconditionFailed", "ConditionalRequestConflict":
		return &fault{storage.ErrExists.Error(), storage.ErrExists, err}
	case "InvalidAccessKeyId", "XAdminUserNotFound": // versitygw's word for it
		return hint.Add(&fault{"access denied: the server does not know the access key", storage.ErrDenied, err}, hintKeys)
	case "SignatureDoesNotMatch":
		return hint.Add(&fault{"access denied: the secret key is wrong", storage.ErrDenied, err}, hintKeys)
	case "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired":
		return hint.Add(&fault{"access denied: the credentials have expired", storage.ErrDenied, err},
			"Renew the session, or use credentials that outlast a snapshot.")
	case "RequestTimeTooSkewed":
		return hint.Add(&fault{"access denied: the clocks of this machine and the server differ", storage.ErrDenied, err},
			"Set this machine's clock; chrony or systemd-timesyncd keep it right.")
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden":
		return hint.Add(&fault{"access denied", storage.ErrDenied, err}, hintRights)
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "MovedPermanently":
		return hint.Add(&fault{fmt.Sprintf("bucket %q is not in region %q", s.o.Bucket, s.o.Region), storage.ErrNoStore, err},
			"Set the bucket's region with ?region=...")
	case "BadRequest": // to HEAD, which is answered without a reason
		return hint.Add(&fault{"the server answered " + oneLine(status, code, message), nil, err},
			fmt.Sprintf("Check the bucket's region, which is taken to be %q (set it with ?region=...), and whether the credentials have expired.", s.o.Region))
	case "NotImplemented":
		return hint.Add(&fault{"the server does not know this kind of request", nil, err},
			"The store must support conditional writes (If-None-Match) and multipart uploads.")
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return hint.Add(&fault{storage.ErrFull.Error(), storage.ErrFull, err}, "Give the bucket more room, or prune snapshots.")
	}
	if code != "" && code != "UnknownError" && code != http.StatusText(status) {
		return &fault{"the server answered " + oneLine(status, code, message), nil, err}
	}
	return s.explainStatus(err, status, code, message)
}

// explainStatus is for answers without a body, as those to HEAD are.
func (s *Store) explainStatus(err error, status int, code, message string) error {
	switch status {
	case http.StatusNotFound:
		return &fault{storage.ErrNotFound.Error(), storage.ErrNotFound, err}
	case http.StatusForbidden, http.StatusUnauthorized:
		return hint.Add(&fault{"access denied", storage.ErrDenied, err}, hintRights)
	case http.StatusMovedPermanently:
		return s.refused(err, "PermanentRedirect")
	case http.StatusPreconditionFailed, http.StatusConflict:
		return &fault{storage.ErrExists.Error(), storage.ErrExists, err}
	case http.StatusInsufficientStorage:
		return s.refused(err, "InsufficientStorage")
	}
	return &fault{"the server answered " + oneLine(status, code, message), nil, err}
}

func (s *Store) explainNetwork(err error) error {
	where := s.o.Endpoint
	if where == "" {
		where = "S3 in " + s.o.Region
	}
	hinted := func(text string) error {
		return hint.Add(&fault{text, nil, err}, "Check the endpoint, the network, and proxy and firewall settings.")
	}
	dns, op, timeout := (*net.DNSError)(nil), (*net.OpError)(nil), net.Error(nil)
	switch {
	case errors.As(err, &dns):
		return hinted("connect to " + where + ": no such host " + dns.Name)
	case errors.As(err, &op) && op.Op == "dial":
		if op.Timeout() {
			return hinted(fmt.Sprintf("connect to %s: no answer within %s", where, dialTimeout))
		}
		return hinted("connect to " + where + ": " + innermost(op.Err))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return hinted(fmt.Sprintf("talk to %s: nothing moved for %s", where, s.o.StallTimeout))
	case errors.As(err, &op):
		return hinted("talk to " + where + ": " + innermost(op.Err))
	}
	if canceled := (*aws.RequestCanceledError)(nil); errors.As(err, &canceled) {
		return &fault{"talk to " + where + ": the request was cancelled", nil, err}
	}
	if operation := (*smithy.OperationError)(nil); errors.As(err, &operation) {
		return &fault{"talk to " + where + ": " + innermost(operation.Err), nil, err}
	}
	return err
}

// innermost is the error that says what happened, without those that say
// through how many layers it came.
func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// oneLine joins what a server said; some say only a status, some only a text.
func oneLine(status int, code, message string) string {
	var parts []string
	if status != 0 {
		parts = append(parts, fmt.Sprint(status))
	}
	if code != "" {
		parts = append(parts, code)
	}
	text := strings.Join(parts, " ")
	if message = strings.Join(strings.Fields(message), " "); message != "" {
		text = strings.TrimSpace(text + ": " + message)
	}
	return text
}
