// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect/conformance"
)

// atOnce is how many cells of a subject are under way.
const atOnce = 32

// TestMatrix sends every cell over every backend, each Config replacing the one
// before it, and under each the application's listeners come and go. A Config
// that a backend refuses is not asked of it, and counted.
func TestMatrix(t *testing.T) {
	var ran int
	var all tally
	t.Run("backends", func(t *testing.T) {
		for _, s := range subjects() {
			ran++
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				b := newBed(t)
				for _, setting := range conformance.Settings() {
					all.try(t, b, s, setting)
				}
			})
		}
	})
	cells := 0
	for _, setting := range conformance.Settings() {
		cells += len(setting.Cells())
	}
	if got, want := all.sent.Load()+all.refused.Load(), int64(cells*ran); got != want {
		t.Fatalf("%d cells were sent over all backends, or refused; want %d", got, want)
	}
	figure.Publish(t, "redirect.matrix.backends", ran, "backends")
	figure.Publish(t, "redirect.matrix.cells", cells, "cells")
	figure.Publish(t, "redirect.matrix.refused", all.refused.Load(), "cells")
	figure.Publish(t, "redirect.matrix.mismatches", all.mismatches.Load(), "cells")
}

// tally counts cells.
type tally struct{ sent, refused, mismatches atomic.Int64 }

// try sends the cells of a setting, as far as the backend can do it.
func (a *tally) try(t *testing.T, b *bed, s subject, setting *conformance.Setting) {
	t.Helper()
	if s.refuses(t, setting.Config) {
		a.refused.Add(int64(len(setting.Cells())))
		return
	}
	b.apply(t, s, setting.Config)
	for _, l := range conformance.Listenings() {
		b.serve(t, l)
		cells := setting.CellsWhile(l)
		for _, err := range b.sendAll(cells) {
			a.mismatches.Add(1)
			t.Error(err)
		}
		a.sent.Add(int64(len(cells)))
	}
}

// sendAll sends the cells and says what is wrong with any of them.
func (b *bed) sendAll(cells []conformance.Cell) []error {
	var mu sync.Mutex
	var wrong []error
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, c := range cells {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := b.judge(c); err != nil {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, err)
			}
		})
	}
	wg.Wait()
	return wrong
}

// judge compares what becomes of a cell with the contract and with Explain.
func (b *bed) judge(c conformance.Cell) error {
	got, err := b.send(c)
	if err != nil {
		return fmt.Errorf("%v: %w, want it %v", c, err, c.Want())
	}
	if got != c.Want() {
		return fmt.Errorf("%v: arrived %v, want it %v", c, got, c.Want())
	}
	if c.Setting.Off {
		return nil
	}
	explained, err := c.Explained()
	if err == nil && explained != got.At {
		err = fmt.Errorf("%v: arrived %v, but Explain has it at %s", c, got, explained)
	}
	return err
}
