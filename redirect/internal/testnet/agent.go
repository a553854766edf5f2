// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// agentEnv makes a test binary an agent: see Child.
const agentEnv = "SHUNT_TESTNET_AGENT"

// Credential is what a process may be told by. Groups are supplementary.
type Credential struct {
	UID, GID uint32
	Groups   []uint32
}

// Attempt is one connection or datagram that an Agent is asked for.
type Attempt struct {
	Token    uint64 // sent to whoever answers; never used twice
	UDP      bool
	MPTCP    bool
	Source   netip.Addr     // bound to, where valid
	Dest     netip.AddrPort // an IPv4 address mapped into IPv6 is dialled from an IPv6 socket
	Patience time.Duration
}

// Outcome is what the Agent's socket said.
type Outcome struct {
	Token uint64
	Local netip.AddrPort
	Took  time.Duration // until the connection stood, or was refused
	Errno syscall.Errno // 0 where all went well
	Op    string        // what Errno belongs to
}

// Refused reports whether the kernel turned the connection away at once.
func (o Outcome) Refused() bool { return o.Errno == syscall.ECONNREFUSED }

// Err returns nil where all went well.
func (o Outcome) Err() error {
	if o.Errno == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w", o.Op, o.Errno)
}

// Agent is a process inside a namespace that opens connections when told. It
// ends with its test.
type Agent struct {
	mu      sync.Mutex // guards both fields below, and orders writes
	out     *json.Encoder
	waiting map[uint64]chan Outcome
}

// Agent starts a process with a credential. Child must be called in TestMain.
func (n *Namespace) Agent(t testing.TB, c Credential) *Agent {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	// By descriptor: the folder of a test binary is closed to other users.
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = []string{agentEnv + "=1"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}}
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	n.Do(t, cmd.Start)
	a := &Agent{out: json.NewEncoder(stdin), waiting: map[uint64]chan Outcome{}}
	var wg sync.WaitGroup
	wg.Go(func() { a.receive(stdout) })
	t.Cleanup(func() {
		_ = stdin.Close()
		wg.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("agent %+v: %v", c, err)
		}
	})
	return a
}

// Do has the agent make an attempt, and returns how it went.
func (a *Agent) Do(at Attempt) (Outcome, error) {
	answer := make(chan Outcome, 1)
	a.mu.Lock()
	if a.waiting == nil {
		a.mu.Unlock()
		return Outcome{}, errors.New("ask agent: it has ended")
	}
	a.waiting[at.Token] = answer
	err := a.out.Encode(at)
	a.mu.Unlock()
	if err != nil {
		return Outcome{}, fmt.Errorf("ask agent: %w", err)
	}
	o, ok := <-answer
	if !ok {
		return Outcome{}, errors.New("ask agent: it ended without an answer")
	}
	return o, nil
}

func (a *Agent) receive(r io.Reader) {
	for in := json.NewDecoder(r); ; {
		var o Outcome
		err := in.Decode(&o)
		a.mu.Lock()
		if err != nil {
			for _, answer := range a.waiting {
				close(answer)
			}
			a.waiting = nil
			a.mu.Unlock()
			return
		}
		if answer, ok := a.waiting[o.Token]; ok {
			answer <- o
			delete(a.waiting, o.Token)
		}
		a.mu.Unlock()
	}
}

// maxAttempts bounds what one agent does at a time.
const maxAttempts = 32

// serveAgent makes the attempts that arrive on r until it ends.
func serveAgent(r io.Reader, w io.Writer) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	out := json.NewEncoder(w)
	room := make(chan struct{}, maxAttempts)
	for in := json.NewDecoder(r); ; {
		var at Attempt
		if err := in.Decode(&at); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read attempt: %w", err)
		}
		room <- struct{}{}
		wg.Go(func() {
			o := at.make()
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(o) // nobody is left to tell
			<-room
		})
	}
}
