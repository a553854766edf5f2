// SPDX-License-Identifier: Apache-2.0

package loop

// busy is the load of a worker that leaves too little for one more connection.
const busy = 0.75

// LeastBusy is the index of the worker for a new connection; there must be one.
// Requests of one worker share connections to servers, so as few workers are at
// work as the load needs: one without connections is the choice only when those
// that have some are busy.
func LeastBusy(workers []*Worker) int {
	return first(len(workers), func(i int) standing { return standing{workers[i].Conns(), workers[i].Load()} })
}

// first is the index of the one before which no other is.
func first(n int, at func(int) standing) int {
	best, least := 0, at(0)
	for i := 1; i < n; i++ {
		if s := at(i); s.before(least) {
			best, least = i, s
		}
	}
	return best
}

// standing is what the choice depends on.
type standing struct {
	conns int
	load  float64
}

// before tells that s is to be preferred to t.
func (s standing) before(t standing) bool {
	a, b := s.rank(), t.rank()
	switch {
	case a != b:
		return a < b
	case a == overloaded:
		return s.load < t.load
	}
	return s.conns < t.conns
}

// The ranks of workers, from the first choice to the last.
const (
	working = iota
	unused
	overloaded
)

func (s standing) rank() int {
	switch {
	case s.load >= busy:
		return overloaded
	case s.conns == 0:
		return unused
	}
	return working
}
