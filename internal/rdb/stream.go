package rdb

// skipStream consumes a stream. Its layout grew four times, always by more
// fields: 2 with Redis 7.0, 3 with 7.2, 4 with 8.6, 5 with 8.8.
func (r *Reader) skipStream(typ byte) error {
	// Nodes: first entry's id, and a listpack of entries.
	if err := r.skipItems(2, r.skipPair); err != nil {
		return err
	}
	// Length, last id; since 2 also first id, greatest deleted id, entries added.
	numbers := 3
	if typ >= typeStream2 {
		numbers = 8
	}
	if err := r.skipNumbers(numbers); err != nil {
		return err
	}
	groups, err := r.in.count(5)
	if err != nil {
		return err
	}
	for range groups {
		if err := r.skipGroup(typ); err != nil {
			return err
		}
	}
	if typ < typeStream4 {
		return nil
	}
	return r.skipProducers()
}

func (r *Reader) skipNumbers(n int) error {
	for range n {
		if _, err := r.in.number(); err != nil {
			return err
		}
	}
	return nil
}

// skipGroup passes a consumer group: name, last delivered id, since 2 entries
// read, then its pending entries, and its consumers with theirs.
func (r *Reader) skipGroup(typ byte) error {
	if err := r.in.skipString(); err != nil {
		return err
	}
	numbers := 2
	if typ >= typeStream2 {
		numbers = 3
	}
	if err := r.skipNumbers(numbers); err != nil {
		return err
	}
	if err := r.skipItems(25, r.skipPending); err != nil {
		return err
	}
	times := uint64(8) // last seen
	if typ >= typeStream3 {
		times = 16 // and last active
	}
	consumers, err := r.in.count(2 + times)
	if err != nil {
		return err
	}
	for range consumers {
		if err := r.in.skipString(); err != nil {
			return err
		}
		if err := r.in.skip(times); err != nil {
			return err
		}
		if err := r.skipIDs(); err != nil {
			return err
		}
	}
	if typ < typeStream5 {
		return nil
	}
	return r.skipIDs() // released entries, which no consumer holds
}

// skipPending passes a pending entry: id, delivery time, number of deliveries.
func (r *Reader) skipPending() error {
	if err := r.in.skip(16 + 8); err != nil {
		return err
	}
	_, err := r.in.number()
	return err
}

// skipIDs passes a count and as many raw entry ids.
func (r *Reader) skipIDs() error {
	n, err := r.in.count(16)
	if err != nil {
		return err
	}
	for range n {
		if err := r.in.skip(16); err != nil {
			return err
		}
	}
	return nil
}

// skipProducers passes what makes XADD idempotent since Redis 8.6: duration
// and limit, per producer the ids it used, and two counters.
func (r *Reader) skipProducers() error {
	if err := r.skipNumbers(2); err != nil {
		return err
	}
	err := r.skipItems(2, func() error {
		if err := r.in.skipString(); err != nil {
			return err
		}
		return r.skipItems(3, func() error {
			if err := r.in.skipString(); err != nil {
				return err
			}
			return r.skipNumbers(2)
		})
	})
	if err != nil {
		return err
	}
	return r.skipNumbers(2)
}
