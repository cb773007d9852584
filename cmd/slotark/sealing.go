package main

import (
	"os"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/storage/seal"
)

// identityEnv names the file of identities where nothing else does.
const identityEnv = "SLOTARK_IDENTITY_FILE"

// identities reads the private keys, from the first place that names any: the
// flag, the environment, the configuration. Only verbs that decrypt ask.
func (s *settings) identities(a *app) (*seal.Identities, error) {
	files := a.flags.identities
	if named := os.Getenv(identityEnv); len(files) == 0 && named != "" {
		files = []string{named}
	}
	if named := s.Repository.IdentityFile; len(files) == 0 && named != "" {
		files = []string{named}
	}
	keys, err := seal.ReadIdentities(files...)
	if err != nil {
		return nil, usageError{err}
	}
	return keys, nil
}

// unlock makes an encrypted snapshot readable, before anything else is done
// with it. One that is not encrypted needs no identity, and none is read.
func (s *settings) unlock(a *app, snapshot *catalog.Snapshot) error {
	if snapshot.Manifest.Seal.Encryption != seal.Age {
		return nil
	}
	keys, err := s.identities(a)
	if err != nil {
		return err
	}
	return snapshot.Unlock(keys)
}

// sealLine says how a snapshot is sealed: "zstd, encrypted to age1… and age1…".
func sealLine(s manifest.Seal) string {
	compression := "not compressed"
	if s.Compression == seal.Zstd {
		compression = "zstd"
	}
	if s.Encryption != seal.Age {
		return compression + ", not encrypted"
	}
	line := compression + ", encrypted to "
	for i, r := range s.Recipients {
		if i > 0 {
			line += " and "
		}
		line += seal.Fingerprint(r)
	}
	return line
}
