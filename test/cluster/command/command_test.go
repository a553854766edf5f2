// SPDX-License-Identifier: Apache-2.0

package command_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/command"
)

func TestRun(t *testing.T) {
	out, err := command.Command{Args: []string{"sh", "-c", "cat; echo $WORD; echo aside >&2"}, Env: []string{"WORD=two"}, Input: strings.NewReader("one\n")}.Run(t.Context())
	if err != nil || out != "one\ntwo\n" {
		t.Errorf("Run = %q, %v", out, err)
	}
	_, err = command.Run(t.Context(), "sh", "-c", "for i in $(seq 50); do echo line $i; done; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.HasSuffix(err.Error(), "line 50") || strings.Contains(err.Error(), "line 38\n") {
		t.Errorf("the error has not the last lines: %v", err)
	}
}

// TestRunCanceled holds that a run which is broken off says why, and takes its children with it: they would hold the pipe.
func TestRunCanceled(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	began := time.Now()
	_, err := command.Run(ctx, "sh", "-c", "sleep 60 & sleep 60")
	if !errors.Is(err, cause) {
		t.Errorf("a run that was broken off: %v, want %v", err, cause)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("a run that was broken off took %v: a child lives on", took)
	}
}
