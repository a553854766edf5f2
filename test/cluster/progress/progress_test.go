// SPDX-License-Identifier: Apache-2.0

package progress_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/test/cluster/progress"
)

func TestStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := progress.New(&out)
		broken := errors.New("broken")
		if err := p.Step("work", func() error { time.Sleep(1500 * time.Millisecond); return nil }); err != nil {
			t.Error(err)
		}
		if err := p.Step("fail", func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("Step returned %v, want %v", err, broken)
		}
		p.Note("see %s", "there")
		want := "  .. work\n" +
			"  ok work                                              1.5 s\n" +
			"  .. fail\n" +
			"fail fail                                              0.0 s\n" +
			"    see there\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("printed (-want +got):\n%s", diff)
		}
	})
}
