package restore

import "context"

// MarkBegun does what a restore does until its first change, and leaves its mark,
// as one that is killed there does: its process is no more.
func MarkBegun(ctx context.Context, o Options) error {
	r, err := begin(o)
	if err != nil {
		return err
	}
	defer r.close()
	return r.inOrder(ctx, r.steps()[0])
}
