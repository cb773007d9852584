package rdb

import (
	"math"
	"strconv"
)

// zset consumes a sorted set: an item for each member with its score.
func (d *digester) zset(typ byte, items *bag) error {
	switch typ {
	case typeZsetZiplist:
		return d.zsetPacked(&d.ziplist, items)
	case typeZsetListpack:
		return d.zsetPacked(&d.listpack, items)
	}
	least := uint64(2)
	if typ == typeZset2 {
		least = 9
	}
	n, err := d.countUnique(least)
	if err != nil {
		return err
	}
	for range n {
		at := d.in.offset()
		d.hash.begin(tagScored)
		if err := d.text(); err != nil {
			return err
		}
		if err := d.unique(at); err != nil {
			return err
		}
		at = d.in.offset()
		score, err := d.in.score(typ)
		if err != nil {
			return err
		}
		if err := d.addScore(score, at, items); err != nil {
			return err
		}
	}
	return nil
}

// zsetPacked walks members and scores by turns.
func (d *digester) zsetPacked(p packed, items *bag) error {
	at := d.in.offset()
	if err := d.openUnique(p, at, 2); err != nil {
		return err
	}
	for {
		member, err := d.next(p, at)
		if err != nil || member == nil {
			return err
		}
		d.hash.begin(tagScored)
		d.hash.text(member)
		if err := d.unique(at); err != nil {
			return err
		}
		score, err := d.packedScore(p, at)
		if err != nil {
			return err
		}
		if err := d.addScore(score, at, items); err != nil {
			return err
		}
	}
}

// packedScore is the next element: an integer, or text with as many digits as
// bring the same binary64 back.
func (d *digester) packedScore(p packed, at int64) (float64, error) {
	if n, ok := p.integer(); ok {
		return float64(n), nil
	}
	text, err := d.next(p, at)
	if err != nil {
		return 0, err
	}
	if text == nil {
		return 0, damage(CodeValue, at, "a sorted set's last member has no score")
	}
	score, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0, damage(CodeValue, at, "%s is no score", quoteKey(text))
	}
	return score, nil
}

// addScore ends a member's item. Zero has one sign: a listpack keeps none.
func (d *digester) addScore(score float64, at int64, items *bag) error {
	if math.IsNaN(score) {
		return damage(CodeValue, at, "a sorted set's score is not a number")
	}
	if score == 0 {
		score = 0
	}
	d.hash.number(math.Float64bits(score))
	items.add(d.hash.sum())
	return nil
}

// score reads the score behind a member, as text or as binary64.
func (in *input) score(typ byte) (float64, error) {
	if typ == typeZset2 {
		bits, err := in.uint64()
		return math.Float64frombits(bits), err
	}
	at := in.offset()
	n, err := in.byte()
	if err != nil {
		return 0, err
	}
	switch n {
	case 253:
		return math.NaN(), nil
	case 254:
		return math.Inf(1), nil
	case 255:
		return math.Inf(-1), nil
	}
	text, err := in.fixed(int(n))
	if err != nil {
		return 0, err
	}
	score, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0, damage(CodeValue, at, "%s is no score", quoteKey(text))
	}
	return score, nil
}
