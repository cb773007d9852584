package progress

// Event is one step of one task.
type Event struct {
	Task   string // what the line is about: "shard 0-5460", "load 10.0.0.1:6379"
	Phase  string // what is happening to it: "bgsave", "collect", "load"
	Done   int64  // bytes so far; 0 where bytes mean nothing
	Total  int64  // bytes in all; 0 where it is not known
	Keys   uint64 // keys so far
	Detail string // a few words for a person
	Ended  bool   // the task's last event
}

// Func receives events, from several goroutines at once. It must not block.
type Func func(Event)

// Emit passes an event on, if there is anybody to pass it to.
func (f Func) Emit(e Event) {
	if f != nil {
		f(e)
	}
}
