package location

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slotark/slotark/internal/clock"
	"github.com/slotark/slotark/internal/hint"
	"github.com/slotark/slotark/storage/s3"
)

// s3Parameters are all that a URL of a bucket may have.
var s3Parameters = []string{"region", "endpoint", "path_style", "profile", "ca", "sse", "kms_key_id", "storage_class", "lock", "lock_for", "as_of", "name"}

// storageClasses are those from which an object can be read at once.
var storageClasses = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"}

// parseStored reads how objects are stored.
func parseStored(o *s3.Options, values url.Values) error {
	o.Encryption, o.KMSKey, o.StorageClass = values.Get("sse"), values.Get("kms_key_id"), values.Get("storage_class")
	switch {
	case o.Encryption != "" && o.Encryption != "AES256" && o.Encryption != "aws:kms":
		return fmt.Errorf("sse is %q: AES256 or aws:kms", o.Encryption)
	case o.KMSKey != "" && o.Encryption != "aws:kms":
		return hint.Add(errors.New("kms_key_id names a key, and nothing says that it is used"), "Add sse=aws:kms.")
	case o.StorageClass == "GLACIER", o.StorageClass == "DEEP_ARCHIVE":
		return hint.Add(fmt.Errorf("storage_class is %s: what is stored there cannot be read for hours, not even to verify it", o.StorageClass),
			"Use GLACIER_IR; or let a lifecycle rule move what is old, and move it back before a restore.")
	case o.StorageClass != "" && !slices.Contains(storageClasses, o.StorageClass):
		return fmt.Errorf("storage_class is %q: one of %s", o.StorageClass, strings.Join(storageClasses, ", "))
	}
	return nil
}

// asKept is the lock_for of a lock that lasts as long as the rules of retention
// keep a snapshot. It is what holds where there is no lock_for.
const asKept = "keep"

// parseLock reads how objects are locked and for how long: the time says
// nothing without the way.
func parseLock(o *s3.Options, values url.Values) error {
	mode, text := values.Get("lock"), values.Get("lock_for")
	switch {
	case mode == "" && text == "":
		return nil
	case mode == "":
		return hint.Add(errors.New("lock_for says for how long, and nothing how"), "Add lock=governance or lock=compliance.")
	case mode != s3.Governance && mode != s3.Compliance:
		return fmt.Errorf("lock is %q: governance or compliance", mode)
	case text == "", text == asKept:
		o.Lock = mode
		return nil
	}
	span, err := parseSpan(text)
	if err != nil {
		return fmt.Errorf("lock_for: %w", err)
	}
	o.Lock, o.LockFor = mode, span
	return nil
}

// The longest lock: somebody has to pay for it.
const maxLock = 100 * 365 * 24 * time.Hour

// parseSpan reads "36h", "30d" or "8w".
func parseSpan(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a time span: want a number with a unit, such as 36h, 30d or 8w", text)
	span, err := time.ParseDuration(text)
	if unit := map[byte]time.Duration{'d': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]; unit != 0 {
		var number int
		if number, err = strconv.Atoi(text[:len(text)-1]); number > int(maxLock/unit) {
			return 0, wrong
		}
		span = time.Duration(number) * unit
	}
	if err != nil || span < time.Minute || span > maxLock {
		return 0, wrong
	}
	return span, nil
}

// spanText is a span as parseSpan reads it; "" for none.
func spanText(span time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case span == 0:
		return ""
	case span%day == 0:
		return strconv.Itoa(int(span/day)) + "d"
	}
	return span.String()
}

// ParseInstant reads the instant as of which a store is shown:
// "2026-01-31T02:00:00Z". "" is the zero time: now.
func ParseInstant(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%q is not an instant: want one like 2026-01-31T02:00:00Z", text)
	case at.After(clock.Now()):
		return time.Time{}, fmt.Errorf("%s is not over yet", text)
	}
	return at.UTC(), nil
}
