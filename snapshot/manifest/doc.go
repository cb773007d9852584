// Package manifest is the record of one snapshot: pure data that is encoded,
// decoded and validated, and never fetched or acted on here.
//
// Invariant: what Decode returns is coherent (Validate found nothing), and
// every format version ever written can be decoded for ever. FORMAT.md beside
// this file describes each field.
package manifest
