// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect/conformance"
)

// atOnceRefused is less than the second after which a SYN is sent once more
// (RFC 6298 section 2.1), so that a refusal in time is an answer to the first.
const atOnceRefused = 900 * time.Millisecond

// TestProxyDead refuses at once what is captured, and leaves the rest alone.
func TestProxyDead(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.stopProxy()
			for _, setting := range conformance.Settings() {
				if s.refuses(t, setting.Config) {
					continue
				}
				b.apply(t, s, setting.Config)
				for _, c := range setting.CellsWhile(conformance.Everywhere) {
					// A sample: these axes make no difference here.
					if c.Transport == conformance.UDP || c.Sender == conformance.Root || c.Sender == conformance.Member {
						continue
					}
					if err := b.judgeDead(c); err != nil {
						t.Errorf("%v: %v", c, err)
					}
				}
			}
		})
	}
}

func (b *bed) judgeDead(c conformance.Cell) error {
	_, o, err := b.attempt(c)
	if err != nil {
		return err
	}
	at := c.Want().At
	dead := at == conformance.AtOutbound || at == conformance.AtInbound
	switch {
	case dead && o.Errno == 0:
		return errors.New("it arrived, want a refusal")
	case dead && !o.Refused():
		return fmt.Errorf("%w, want a refusal", o.Err())
	case dead && o.Took > atOnceRefused:
		return fmt.Errorf("refused after %v, want it at once", o.Took)
	case !dead && o.Errno != 0:
		return fmt.Errorf("%w, want it to arrive at %s", o.Err(), at)
	default:
		return nil
	}
}

// stopProxy closes the proxy's listeners.
func (b *bed) stopProxy() {
	for _, stop := range b.proxy {
		stop()
	}
}
