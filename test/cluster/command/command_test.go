// SPDX-License-Identifier: Apache-2.0

package command_test

import (
	"context"
	"errors"
	"strings"
	"testing"

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
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := command.Run(ctx, "sleep", "60"); !errors.Is(err, cause) {
		t.Errorf("a run that was broken off: %v, want %v", err, cause)
	}
}
