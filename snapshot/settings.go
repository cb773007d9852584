package snapshot

import (
	"bytes"
	"context"

	"github.com/slotark/slotark/snapshot/catalog"
	"github.com/slotark/slotark/snapshot/manifest"
	"github.com/slotark/slotark/snapshot/settings"
	"github.com/slotark/slotark/storage/seal"
)

// What is kept of the cluster's settings.
const (
	SettingsAuto   = "auto"   // everything; passwords only where the snapshot is encrypted
	SettingsFull   = "full"   // passwords too, whoever can read the stores
	SettingsPublic = "public" // never a password
	SettingsNone   = "none"   // nothing
)

// keepSettings reads the settings of all nodes and stores them. It asks when the
// dumps are taken: then nothing is changed for these any more, and the topology
// is the one of the manifest. That a node does not give them is a finding; only
// the stores can make it fail.
func (r *run) keepSettings(ctx context.Context) error {
	if r.Settings == SettingsNone {
		return nil
	}
	encrypted := r.Sealer.Lock().Encryption == seal.Age
	read, findings := settings.Read(ctx, settings.Options{
		Cluster: r.Cluster, Access: r.Access, Topology: r.topology, Now: r.Now(),
		Secrets: r.Settings == SettingsFull || r.Settings == SettingsAuto && encrypted,
	})
	r.about = findings
	if r.Settings == SettingsAuto { // with public nobody asked for them
		r.withheld = settings.Withheld(read)
	}
	text, err := manifest.EncodeSettings(read)
	if err != nil {
		r.about = append(r.about, manifest.Finding{Code: "settings-unread", Severity: "warning", Subject: "settings", Detail: "not stored: " + err.Error()})
		return nil
	}
	r.kept, err = putSealed(ctx, r.writer, catalog.Folder(r.Cluster, r.id), settingsObject, r.Sealer, bytes.NewReader(text))
	return err
}
