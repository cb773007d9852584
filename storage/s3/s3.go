package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/sync/semaphore"

	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage"
)

const (
	// The region of servers that have none.
	fallbackRegion = "us-east-1"
)

// Options says where the bucket is and how to reach it. Credentials come from
// where every AWS tool takes them: environment, shared files, role.
type Options struct {
	Bucket string
	Prefix string // before every name, without slashes at its ends; may be ""

	Region    string // "" = that of the environment or the profile
	Endpoint  string // "" = AWS; else the URL of a server
	Profile   string // of the shared configuration; "" = the default
	PathStyle bool   // bucket in the path instead of the host name

	CA           string // file with the PEM of a certificate authority to trust; "" = the system's
	Encryption   string // by the server: "" (the bucket's own), AES256 or aws:kms
	KMSKey       string // id of the key of aws:kms; "" = the account's default
	StorageClass string // "" = the server's default

	// Lock is how objects are locked: "" (not at all), Governance or Compliance.
	// LockFor is for how long, and LockSince says of a name from when on, and
	// whether it is to be locked at all. Both must be given with Lock.
	Lock      string
	LockFor   time.Duration
	LockSince func(name string) (time.Time, bool)
	// Kept is for how long what is locked is wanted for sure, where that is known;
	// else 0. Examine warns of a lock that lasts longer.
	Kept time.Duration

	// StallTimeout ends a connection on which nothing has moved for so long.
	// 0 = 2 minutes.
	StallTimeout time.Duration
	// MaxBackoff is the longest wait between two attempts at one request.
	// 0 = 10 seconds.
	MaxBackoff time.Duration
}

// Store is a bucket, or a prefix in it. See [Open].
type Store struct {
	client     *s3.Client
	found      *keys
	remembered []*aws.CredentialsCache // over found
	o          Options
	prefix     string              // "" or ending in "/"
	shared     *semaphore.Weighted // room for the parts of all Puts; see room

	// A 404 to HEAD does not say whether object or bucket is missing. Once
	// anything was answered from within the bucket, it is the object.
	bucketSeen atomic.Bool
}

// Open reads configuration and returns the store. It sends no request to it.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{o: o, shared: semaphore.NewWeighted(sharedBytes)}
	if s.o.StallTimeout == 0 {
		s.o.StallTimeout = 2 * time.Minute
	}
	if s.o.MaxBackoff == 0 {
		s.o.MaxBackoff = 10 * time.Second
	}
	if s.prefix = strings.Trim(o.Prefix, "/"); s.prefix != "" {
		s.prefix += "/"
	}
	if o.Bucket == "" {
		return nil, errors.New("open s3 store: no bucket is named")
	}
	if o.Lock != "" && (o.LockFor <= 0 || o.LockSince == nil) {
		return nil, fmt.Errorf("open %s: a lock needs to know for how long and since when", s)
	}
	cfg, err := s.configure(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", s, err)
	}
	s.o.Region = cfg.Region
	s.client = s3.NewFromConfig(cfg, func(c *s3.Options) {
		c.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			c.BaseEndpoint = &o.Endpoint
		}
		// "No checksum to validate" would be printed for every object that
		// another tool has written.
		c.DisableLogOutputChecksumValidationSkipped = true
	})
	return s, nil
}

func (s *Store) configure(ctx context.Context) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient(s.o.StallTimeout)),
		config.WithLogger(logging.Nop{}),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(r *retry.StandardOptions) {
				r.MaxAttempts, r.MaxBackoff, r.Backoff = attempts, s.o.MaxBackoff, pauses{s.o.MaxBackoff}
				r.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(s.renewed), retry.IsErrorRetryableFunc(altered)}, r.Retryables...)
			})
		}),
		// Put gives its own checksums. What the SDK would add on top is a
		// trailer that several other servers do not understand.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
	}
	if s.o.Region != "" {
		options = append(options, config.WithRegion(s.o.Region))
	}
	if s.o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.o.Profile))
	}
	if s.o.CA != "" {
		authority, err := readCA(s.o.CA)
		if err != nil {
			return aws.Config{}, err
		}
		options = append(options, config.WithCustomCABundle(authority))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		if missing := (config.SharedConfigProfileNotExistError{}); errors.As(err, &missing) {
			return cfg, hint.Add(fmt.Errorf("%w: no profile %q in the shared AWS configuration", storage.ErrDenied, s.o.Profile),
				"Name a profile of ~/.aws/config, or none.")
		}
		return cfg, err
	}
	if cfg.Region == "" {
		if s.o.Endpoint == "" {
			return cfg, hint.Add(errors.New("the bucket's region is not known"),
				"Add ?region=... to the store's URL, or set AWS_REGION.")
		}
		cfg.Region = fallbackRegion
	}
	cfg.Credentials = s.remember(cfg.Credentials)
	return cfg, nil
}

// Region is the region the store was opened for.
func (s *Store) Region() string { return s.o.Region }

// String implements [storage.Store]. An endpoint is part of it, because only
// AWS's own bucket names are unique.
func (s *Store) String() string {
	u := url.URL{Scheme: "s3", Host: s.o.Bucket, Path: strings.TrimSuffix("/"+s.prefix, "/")}
	if s.o.Endpoint != "" {
		u.RawQuery = "endpoint=" + s.o.Endpoint
	}
	return u.String()
}

// place is String without the endpoint, for messages.
func (s *Store) place() string {
	return strings.TrimSuffix("s3://"+s.o.Bucket+"/"+s.prefix, "/")
}

func (s *Store) key(name string) *string { return aws.String(s.prefix + name) }
