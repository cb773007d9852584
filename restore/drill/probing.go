package drill

import (
	"context"

	"github.com/slotark/slotark/restore/drill/probe"
)

// probe asks the restored cluster for samples, and what the caller's probes ask.
// What is not answered as it must be is a finding. Of a snapshot that could not be
// restored there is nothing to ask.
func (d *rehearsal) probe(ctx context.Context) error {
	if !d.restored {
		return nil
	}
	c, err := probe.Open(ctx, d.sandbox.Access(), d.sandbox.Nodes())
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.report.find("not-probed", "cluster", err.Error())
		return nil
	}
	defer c.Close()
	samples, findings, err := c.Sample(ctx)
	if err != nil {
		return err
	}
	d.report.Samples = samples
	for _, f := range findings {
		d.report.find(f.Code, f.Subject, f.Detail)
	}
	d.changes(ctx, c)
	if d.report.Probes, err = c.Run(ctx, d.Probes); err != nil {
		return err
	}
	for _, p := range d.report.Probes {
		if !p.Passed {
			d.report.find("probe", p.Name, p.Detail)
		}
	}
	d.Logger.Info("probed", "reads", samples.Reads, "moved", samples.Moved, "probes", len(d.report.Probes), "findings", len(d.report.Findings))
	return nil
}
