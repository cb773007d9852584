package mirror

// SharedInUse is how many chunks of the process's budget are in use.
func SharedInUse() int64 { return shared.Load() }
