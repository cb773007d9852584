package servertest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	// mutationsVariable is how many mutated files each tool is asked about.
	mutationsVariable = "SLOTARK_MUTATIONS"
	// seedVariable repeats a run: the i-th mutation depends on it and i alone.
	seedVariable = "SLOTARK_SEED"

	// Without these variables every run is the same: the search for classes of
	// disagreement nobody has seen is not the business of every `make test`.
	usualSeed = 1
)

// Mutations are how many mutated files to ask each tool about, usual unless
// SLOTARK_MUTATIONS says otherwise, and their seed.
func Mutations(t *testing.T, usual uint64) (n, seed uint64) {
	t.Helper()
	if n = number(t, mutationsVariable, 0); n == 0 {
		n, seed = usual, usualSeed
	} else {
		seed = rand.Uint64()
	}
	seed = number(t, seedVariable, seed)
	t.Logf("seed %d", seed)
	return n, seed
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is no number: %v", name, err)
		}
		return n
	}
	return otherwise
}

// Disagreement is a class of files that one side refuses and the other passes.
type Disagreement struct {
	Class   string
	Finding *regexp.Regexp // what the side that refuses says
	Why     string
}

const unexplained = "unexplained: "

// Explain finds the class of a disagreement by what the side that refuses says.
func Explain(table []Disagreement, finding string) (class string) {
	for _, d := range table {
		if d.Finding.MatchString(finding) {
			return d.Class
		}
	}
	return unexplained + digitRuns.ReplaceAllString(quoted.ReplaceAllString(finding, "…"), "#")
}

var (
	quoted    = regexp.MustCompile(`"([^"\\]|\\.)*"`)
	digitRuns = regexp.MustCompile(`[0-9]+`)
)

// Agree makes n comparisons, on all processors. Each mutates what it compares by
// the numbers it is given, in a folder that is its own meanwhile, and returns
// the class of what both sides say, and details. It logs how many there are of
// each class, with an example, and fails the test for those that no table
// explains.
func Agree(t *testing.T, n, seed uint64, compare func(rng *rand.Rand, dir string) (class, detail string, err error)) {
	t.Helper()
	var mu sync.Mutex
	classes, examples := map[string]int{}, map[string]string{}
	next := make(chan uint64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		dir := t.TempDir()
		workers.Go(func() {
			for i := range next {
				class, detail, err := compare(rand.New(rand.NewPCG(seed, i)), dir)
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				if classes[class]++; classes[class] == 1 {
					examples[class] = fmt.Sprintf("%s=%d, mutation %d: %s", seedVariable, seed, i, detail)
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		if strings.HasPrefix(class, unexplained) {
			t.Errorf("%d times %s: %s", classes[class], class, examples[class])
		} else {
			t.Logf("%6d %s  %s", classes[class], class, examples[class])
		}
	}
}
