package storage

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrName is returned for a name no object may have.
var ErrName = errors.New("invalid object name")

const (
	// S3 allows keys of 1024 bytes; what is left is for the store's prefix.
	maxNameBytes = 800
	// The longest file name of the common file systems.
	maxElementBytes = 255
)

// CheckName returns an error that is [ErrName] unless the name is one that
// every store can hold: relative, parted by "/", without empty, "." or ".."
// elements, printable, and short enough for a folder as for S3.
//
// Every implementation calls it first, so a name that came from a manifest
// can never lead out of the store's root.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > maxNameBytes:
		return fmt.Errorf("%w: %d bytes, of at most %d", ErrName, len(name), maxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w %q: not UTF-8", ErrName, name)
	}
	// A listing of S3 is XML, which cannot carry control characters.
	if strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%w %q: control characters", ErrName, name)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "", element == ".", element == "..":
			return fmt.Errorf("%w %q: it has the element %q", ErrName, name, element)
		case len(element) > maxElementBytes:
			return fmt.Errorf("%w %q: an element of %d bytes, of at most %d", ErrName, name, len(element), maxElementBytes)
		}
	}
	return nil
}
