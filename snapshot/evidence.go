package snapshot

import (
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/rdb"
	"github.com/slotark/slotark/snapshot/collect"
	"github.com/slotark/slotark/snapshot/manifest"
)

// clockMargin is how far ctime may be past the node's clock at the request plus
// the time that passed here: whole seconds on one side, two clocks' drift.
const clockMargin = 2 * time.Second

// fresh compares what the dump says of itself with what the node said before.
func fresh(source *collect.Source, report *rdb.Report, elapsed time.Duration) error {
	if report.Created.IsZero() {
		return fmt.Errorf("%w: it does not say when it was made (no ctime)", collect.ErrStale)
	}
	if report.Created.Before(source.NotBefore) {
		return fmt.Errorf("%w: it was made at %s, the request came at %s", collect.ErrStale,
			report.Created.Format(time.RFC3339), source.NotBefore.Format(time.RFC3339))
	}
	if latest := source.NotBefore.Add(elapsed + clockMargin); report.Created.After(latest) {
		return fmt.Errorf("%w: it was made at %s, after the node's own clock (%s)", collect.ErrStale,
			report.Created.Format(time.RFC3339), latest.Format(time.RFC3339))
	}
	if report.ReplID != "" && report.ReplID != source.ReplID {
		return fmt.Errorf("%w: its replication id is %s, the node's is %s: it is another node's dump, or a failover came between",
			collect.ErrStale, report.ReplID, source.ReplID)
	}
	return nil
}

// record is the manifest's entry for a shard, less its objects.
func (j Job) record(source *collect.Source, way string, report *rdb.Report) manifest.Shard {
	shard := manifest.Shard{
		Slots:       j.Shard.Slots,
		Primary:     j.Shard.Primary.ID,
		ConfigEpoch: j.Shard.Primary.ConfigEpoch,
		Replicas:    len(j.Shard.Replicas),
		Source: manifest.Source{
			Node: j.Source.ID, Address: j.Source.Addr, Role: string(j.Source.Role), Collect: way, LagBytes: j.Lag,
		},
		Taken:       source.Forked,
		Replication: manifest.Replication{ID: source.ReplID, Offset: source.ReplOffset, Exact: source.Exact},
		Dump: manifest.Dump{
			RDBVersion:       report.Version,
			Created:          report.Created,
			CRC64:            fmt.Sprintf("%016x", report.CRC64),
			ChecksumDisabled: report.ChecksumDisabled,
			Keys:             report.Keys,
			Expiring:         report.Expiring,
			MaxDB:            report.MaxDB,
			UsedMemory:       report.UsedMemory,
			Functions:        len(report.Functions),
		},
	}
	if report.ReplID != "" { // the dump's own word is exact
		shard.Replication = manifest.Replication{ID: report.ReplID, Offset: report.ReplOffset, Exact: true}
	}
	return shard
}
