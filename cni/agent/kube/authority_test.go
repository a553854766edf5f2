// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The bundle is read once a minute at most, and outlives the API server.
func TestAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body string
		var away error
		reads := 0
		a := &authority{read: func(_ context.Context, path string) ([]byte, error) {
			reads++
			if want := "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/shunt-webhook"; path != want {
				t.Errorf("read %s, want %s", path, want)
			}
			return []byte(body), away
		}}
		expect := func(what, pem, problem string, count int) {
			t.Helper()
			got, err := a.get(t.Context())
			if string(got) != pem || problem == "" && err != nil || !strings.Contains(fmt.Sprint(err), problem) && problem != "" {
				t.Errorf("%s: %q, %v; want %q, %q", what, got, err, pem, problem)
			}
			if reads != count {
				t.Errorf("%s: %d reads, want %d", what, reads, count)
			}
		}
		body = `{"webhooks":[{"clientConfig":{}}]}`
		expect("not written yet", "", "it has no caBundle yet", 1)
		body = "nonsense"
		expect("no JSON", "", "read MutatingWebhookConfiguration shunt-webhook: ", 2)
		body = `{"webhooks":[{"clientConfig":{}},{"clientConfig":{"caBundle":"T05F"}}]}`
		expect("there", "ONE", "", 3)
		expect("again", "ONE", "", 3)
		time.Sleep(authorityAge)
		away = errors.New("connection refused")
		expect("away", "ONE", "", 4)
		away, body = nil, `{"webhooks":[{"clientConfig":{"caBundle":"VFdP"}}]}`
		expect("another", "TWO", "", 5)
	})
}
