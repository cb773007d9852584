package rdb

const (
	// maxMembers is how many members of one value are held against each other at
	// most, in 2 MiB.
	maxMembers     = 200_000
	membersAtFirst = 16 << 10
)

// maxFieldExpiry is the latest a hash's field can expire, in Unix milliseconds:
// ebuckets.h, EB_EXPIRE_TIME_MAX.
const maxFieldExpiry = 1<<48 - 1

// Field names that entries of a stream's node or hashes of a template share are
// hashed with each of them. A dump of a megabyte could so ask for days: this is
// how many bytes of them are hashed at most, at first and for each byte read.
// What servers write, whose nodes are small, does not come near. Each of several
// workers has the bound to itself.
const (
	sharedAtFirst = 1 << 30
	sharedPerByte = 1 << 10
)

// share counts a shared name of so many bytes, and tells whether it is still
// within the bound.
func (d *digester) share(bytes int) bool {
	d.shared += uint64(bytes)
	return d.shared <= sharedAtFirst+sharedPerByte*uint64(d.in.offset())
}

// expectMembers begins a value, or the part of it that knows how many members
// it has. The number may be a lie: memory is made for few, and for the rest
// when the few were there.
func (d *digester) expectMembers(n uint64) {
	d.crowded = false
	d.members.reset(int(min(n, membersAtFirst)))
	d.members.expected = int(min(n, maxMembers))
	if d.in.size <= 0 {
		d.members.expected = 0
	}
}

// unique checks that the item being hashed, as far as it is, has not been in
// this value. at is where the item, or the blob that holds it, begins.
func (d *digester) unique(at int64) error {
	if !d.crowded {
		twice, full := d.members.add(d.hash.id(d.members))
		if twice {
			return damage(CodeDuplicate, at, "%s is in its value for the second time", d.hash.shown())
		}
		if full {
			d.crowded, d.unchecked = true, true
		}
	}
	d.hash.hush()
	return nil
}

// membersUnchecked tells that some value had more members than are held against
// each other.
func (r *Reader) membersUnchecked() bool { return r.digester != nil && r.digester.unchecked }

// errEmpty is the damage of a key without elements: Redis deletes such keys,
// and the server leaves them out when it loads them, or does not load at all.
func errEmpty(rec *Record) error {
	return damage(CodeValue, rec.ValueOffset, "the %s %s is empty", rec.Family, quoteKey(rec.Key))
}

// shown is the last text of the item, for a person.
func (h *hasher) shown() string {
	if h.spilled || h.text0 > h.n {
		return "a long member"
	}
	return "member " + quoteKey(h.buf[h.text0:h.n])
}

// pendingCheck holds the ids that consumers are said to have pending against
// those of their group, in memory for none: two lists of the same ids give the
// same sum of seeded hashes, others the same one once in 2^64.
type pendingCheck struct {
	balance uint64 // the group's, less its consumers'
	last    [16]byte
	begun   bool
}

// begin starts a list of ids.
func (p *pendingCheck) begin() { p.begun = false }

// ascends tells whether an id is greater than the one before it in its list: a
// radix tree, which keeps no id twice, is written in its order.
func (p *pendingCheck) ascends(id []byte) bool {
	ok := !p.begun || string(p.last[:]) < string(id)
	p.begun = true
	copy(p.last[:], id)
	return ok
}
