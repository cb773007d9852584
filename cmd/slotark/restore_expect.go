package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/slotark/slotark/internal/human"
	"github.com/slotark/slotark/restore"
	"github.com/slotark/slotark/restore/drill"
	"github.com/slotark/slotark/snapshot/catalog"
)

// Where no drill has measured it, a restore is expected to load so many bytes a
// second, and to compare twice as many: less than any machine did that was measured,
// by one shard at a time.
const guessedRate = 50_000_000

// expectation is how long a restore will take, as far as anybody can know.
type expectation struct {
	drilled *catalog.Drill // what the times are taken from; nil: nothing was measured
	bytes   int64          // that it restored
	steps   []time.Duration
	total   time.Duration
}

// growing are the steps that take longer the more there is.
var growing = map[string]bool{"seed": true, "stage": true, "start": true, "load": true, "replicas": true, "compare": true}

// expect takes the times from the newest drill that proved a snapshot of this cluster,
// and scales those of the steps that grow with the data.
func expect(ctx context.Context, repository *catalog.Repository, cluster string, p *restore.Plan) (expectation, error) {
	entries, err := repository.List(ctx, cluster)
	if err != nil {
		return expectation{}, err
	}
	e := expectation{}
	for _, entry := range entries {
		if entry.Drilled != nil && entry.Drilled.Proved && (e.drilled == nil || entry.Drilled.Ended.After(e.drilled.Ended)) {
			e.drilled = entry.Drilled
		}
	}
	measured := map[string]time.Duration{}
	if e.drilled != nil {
		var record struct {
			Bytes  int64         `json:"bytes"`
			Phases []drill.Phase `json:"phases"`
		}
		if text := repository.DrillRecord(ctx, cluster, e.drilled); text == nil || json.Unmarshal(text, &record) != nil || record.Bytes == 0 {
			e.drilled = nil // its record is not what it was
		}
		for _, phase := range record.Phases {
			measured[phase.Name] = phase.Elapsed.Duration()
		}
		e.bytes = record.Bytes
	}
	for _, step := range p.Steps {
		took := e.of(step.Name, measured, p.Bytes)
		e.steps, e.total = append(e.steps, took), e.total+took
	}
	return e, nil
}

// of is how long one step will take.
func (e expectation) of(step string, measured map[string]time.Duration, bytes int64) time.Duration {
	if e.drilled == nil {
		rate := map[string]int64{"seed": guessedRate, "stage": guessedRate, "start": guessedRate, "load": guessedRate, "compare": 2 * guessedRate}[step]
		if rate == 0 {
			return 0
		}
		return time.Duration(float64(bytes) / float64(rate) * float64(time.Second))
	}
	took, known := measured[step]
	if !known && (step == "seed" || step == "stage" || step == "start") { // what is written to a disk, or read from it, was sent to nodes then
		took = measured["load"]
	}
	if growing[step] {
		took = time.Duration(float64(took) * float64(bytes) / float64(e.bytes))
	}
	return took
}

// String is for a person.
func (e expectation) String() string {
	about := "about " + human.Duration(e.total.Round(time.Second/10))
	if e.drilled == nil {
		return about + fmt.Sprintf(", guessed at %s/s: no drill of this cluster has measured it yet", human.Size(guessedRate))
	}
	return fmt.Sprintf("%s, by the drill of %s on %s, which restored %s in %s", about, e.drilled.Snapshot, human.Moment(e.drilled.Ended),
		human.Size(e.bytes), human.Duration(e.drilled.RTO.Duration()))
}
