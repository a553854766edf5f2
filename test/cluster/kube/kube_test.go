// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const twoNodes = `{"items":[
 {"metadata":{"name":"n1"},"status":{"nodeInfo":{"bootID":"a"},"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True"}]}},
 {"metadata":{"name":"n2"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}]}`

func TestParseNodes(t *testing.T) {
	got, err := parseNodes([]byte(twoNodes))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Node{"n1": {Ready: true, BootID: "a"}, "n2": {}}, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if _, err := parseNodes([]byte("not JSON")); err == nil {
		t.Error("what is not JSON was read")
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add([]byte(twoNodes))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = parseNodes(text) })
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		err := Await(t.Context(), "three tries", func(context.Context) error {
			if tries++; tries < 3 {
				return ErrWaiting
			}
			return nil
		})
		if err != nil || tries != 3 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		cause := errors.New("out of time")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		err = Await(ctx, "the impossible", func(context.Context) error { return ErrWaiting })
		if !errors.Is(err, cause) || !errors.Is(err, ErrWaiting) || !strings.Contains(err.Error(), "the impossible") {
			t.Errorf("the error %v says not what was awaited, what stood in the way, or why no longer", err)
		}
	})
}
