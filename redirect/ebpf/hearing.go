// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shuntmesh/shunt/redirect"
)

// found is what the iterator tells of a socket that listens: struct found of
// bpf/listeners.h.
type found struct {
	Ear     ear
	Counted uint64
}

// findListeners reads the pinned iterator, which goes through the sockets of the
// reader's namespace. While a roll is taken it counts them, and tells nothing.
func (pd *pod) findListeners() ([]found, error) {
	read, err := os.ReadFile(pd.layout.link(programsProgShuntListeners))
	if err != nil {
		return nil, fmt.Errorf("look for listeners: %w", hint(err))
	}
	var out []found
	for r := bytes.NewReader(read); ; {
		var f found
		err := binary.Read(r, binary.NativeEndian, &f)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look for listeners: %w", err)
		}
		out = append(out, f)
	}
}

// looks is how often the count of listeners must be wrong: some may come and go
// between two readings.
const looks = 3

// compareListeners returns a *redirect.Difference where the roll that is asked
// doesn't have those who listen, and no others.
func (pd *pod) compareListeners(asked roll) error {
	var different error
	for range looks {
		listeners, err := pd.findListeners()
		if err != nil {
			return err
		}
		rolls, err := pd.rolls()
		if err != nil {
			return err
		}
		if different = differ(ear{Netns: pd.cookie, Roll: asked}, listeners, rolls); different == nil {
			return nil
		}
		time.Sleep(grace)
	}
	return different
}

// differ compares who listens with a roll. Where that has no room for some, they
// are missing.
func differ(itself ear, listeners []found, rolls map[ear]heard) error {
	head, ok := rolls[itself]
	if !ok {
		return &redirect.Difference{Where: "who listens", Want: "a count", Got: "none"}
	}
	listen := map[ear]uint32{}
	for _, f := range listeners {
		listen[f.Ear]++
		if f.Counted == 0 {
			return &redirect.Difference{Where: "who listens at " + f.Ear.String(), Want: "it counted", Got: "it not counted"}
		}
	}
	for e := range rolls {
		if e.Roll == itself.Roll && e != itself {
			listen[e] += 0
		}
	}
	for e, want := range listen {
		if got := rolls[e].Sockets; got > want || got < want && head.Sockets == 0 {
			return &redirect.Difference{Where: "who listens at " + e.String(), Want: fmt.Sprint(want), Got: fmt.Sprint(got)}
		}
	}
	return nil
}
