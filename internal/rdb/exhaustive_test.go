package rdb_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"testing"

	"github.com/slotark/slotark/internal/rdb"
)

// Every prefix and every flipped bit of every fixture is tried. To read 60 KB
// for each of half a million bits would take an hour, so the reading is taken up
// at the record in which the place lies, where a reader of the whole dump would
// stand as well: what a reader does depends on the bytes it has consumed and on
// nothing else. For all places of small fixtures and a sample of those of larger
// ones the dump is read whole too, and must be refused in the same words.

// steps is a sound dump with what its readers know between its records.
type steps struct {
	data   []byte
	deep   bool
	points []rdb.Checkpoint // the first before the header
	reader *rdb.Reader
	source trickle
}

// trickle gives little at a time: a try does not go far.
type trickle struct{ rest []byte }

func (s *trickle) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(len(s.rest), 512)])
	s.rest = s.rest[n:]
	return n, nil
}

func stepsOf(t *testing.T, data []byte, deep bool) *steps {
	t.Helper()
	s := &steps{data: data, deep: deep}
	s.source.rest = data
	s.reader = rdb.NewReader(&s.source, rdb.Options{Digest: deep})
	for {
		s.points = append(s.points, s.reader.Checkpoint())
		if _, err := s.reader.Next(); err == io.EOF {
			return s
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// before is the index of the last checkpoint at or before an offset.
func (s *steps) before(offset int) int {
	return sort.Search(len(s.points), func(i int) bool { return s.points[i].Offset > int64(offset) }) - 1
}

// resume takes the reading of data, which are those of s up to a place, up at
// the record in which that lies.
func (s *steps) resume(data []byte, place int, size int64) {
	point := s.points[s.before(place)]
	s.source.rest = data[point.Offset:]
	s.reader.Resume(point, &s.source, size)
}

// cut is what a reader says of the first bytes alone.
func (s *steps) cut(end int, size int64) error {
	s.resume(s.data[:end], end, size)
	for {
		if _, err := s.reader.Next(); err != nil {
			return err
		}
	}
}

// errOtherSum is what is said of a dump whose reading comes back to where that
// of the sound one was, with another checksum. From there the same bytes follow:
// they are read as before, and lead from two sums to two sums, as
// TestCRC64SeesEveryBit shows. The footer holds the other one.
var errOtherSum = errors.New("the checksum is another from here on")

// changed is what a reader says of data, in which one byte differs from s's.
func (s *steps) changed(data []byte, at int) error {
	s.resume(data, at, int64(len(data)))
	for {
		if _, err := s.reader.Next(); err != nil {
			return err
		}
		here := s.reader.Checkpoint()
		if here.Offset <= int64(at) {
			continue
		}
		if i := s.before(int(here.Offset)); here.LeadsTo(s.points[i]) && here.CRC64 != s.points[i].CRC64 {
			return errOtherSum
		}
	}
}

// sampled chooses for which of n places of a dump it is read whole as well.
func sampled(t *testing.T, size, n int) func(place int) bool {
	t.Helper()
	if size <= wholeSize {
		return func(int) bool { return true }
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	chosen := map[int]bool{}
	for range sampleSize {
		chosen[rng.IntN(n)] = true
	}
	return func(place int) bool { return chosen[place] }
}

// No fixture is sound without its last bytes, whether its size is known or not.
func TestFixturePrefixes(t *testing.T) {
	for _, file := range dumpFiles(t) {
		t.Run(filepath.Base(file.path), func(t *testing.T) {
			t.Parallel()
			s := stepsOf(t, file.data, false)
			whole := sampled(t, len(file.data), len(file.data))
			for end := range file.data {
				size := int64(end) * int64(end%2) // unknown for every other
				err := s.cut(end, size)
				var found *rdb.Damage
				if !errors.As(err, &found) {
					t.Fatalf("the first %d of %d bytes: %v", end, len(file.data), err)
				}
				if whole(end) {
					if want := readAll(file.data[:end], rdb.Options{Size: size}); want == nil || want.Error() != err.Error() {
						t.Fatalf("the first %d bytes: %v, read whole: %v", end, err, want)
					}
				}
			}
		})
	}
}

// No fixture with a checksum is sound with one bit changed.
func TestFixtureBits(t *testing.T) {
	for _, file := range dumpFiles(t) {
		if goldenOf(t, file.data).Checksum {
			t.Run(filepath.Base(file.path), func(t *testing.T) {
				t.Parallel()
				everyBit(t, file.data)
			})
		}
	}
}

// everyBit changes each bit of a sound dump. One of every eight is read with
// digests, which looks into the values.
func everyBit(t *testing.T, data []byte) {
	passed, deep := stepsOf(t, data, false), stepsOf(t, data, true)
	whole := sampled(t, len(data), 8*len(data))
	data = append([]byte(nil), data...)
	for bit := range 8 * len(data) {
		at := bit / 8
		s := passed
		if bit%8 == 0 {
			s = deep
		}
		data[at] ^= 1 << (bit % 8)
		err := s.changed(data, at)
		var found *rdb.Damage
		if err != errOtherSum && !errors.As(err, &found) {
			t.Fatalf("bit %d of byte %d changed: %v", bit%8, at, err)
		}
		if whole(bit) {
			want := readAll(data, rdb.Options{Size: int64(len(data)), Digest: s.deep})
			if want == nil || err == errOtherSum && code(want) != rdb.CodeCRC64 || err != errOtherSum && err.Error() != want.Error() {
				t.Fatalf("bit %d of byte %d changed: %v, read whole: %v", bit%8, at, err, want)
			}
		}
		data[at] ^= 1 << (bit % 8)
	}
}
