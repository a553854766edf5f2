// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// tallied is what "app hold" says of a connection: that it is open, and, where the
// other side ends it, that it has ended.
type tallied struct {
	Pod, Peer, Local, Seen string
	Ended                  bool
}

func holdArgs(n int, address string) []string {
	return []string{"app", "hold", fmt.Sprintf("-n=%d", n), address}
}

// dial opens connections from the client in the mesh, one after the other, and
// closes them.
func dial(n int, address string) ([]tallied, error) {
	out, err := tryIn(mesh, "client", holdArgs(n, address)...)
	if err != nil {
		return nil, err
	}
	return readTallied(json.NewDecoder(strings.NewReader(out)), n)
}

// hold opens connections likewise, and keeps them while something happens. It
// returns those that the other side has ended by then.
func hold(t *testing.T, n int, address string, happen func(open []tallied)) (ended []tallied) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "kubectl", append([]string{"-n", mesh, "exec", "-i", "client", "-c", "app", "--"}, holdArgs(n, address)...)...)
	cmd.Stderr = t.Output()
	input, inputErr := cmd.StdinPipe()
	output, outputErr := cmd.StdoutPipe()
	if err := errors.Join(inputErr, outputErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	lines := json.NewDecoder(output)
	open, err := readTallied(lines, n)
	if err != nil || len(open) < n {
		t.Fatalf("%d of %d connections to %s are open: %v", len(open), n, address, err)
	}
	happen(open)
	_ = input.Close()
	if ended, err = readTallied(lines, n); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil { // it was over before, and saw nothing
		t.Fatalf("app hold: %v", err)
	}
	return ended
}

// readTallied reads what is said of at most n connections.
func readTallied(lines *json.Decoder, n int) (all []tallied, err error) {
	for range n {
		var one tallied
		err := lines.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("read what app hold says: %w", err)
		}
		all = append(all, one)
	}
	return all, nil
}
