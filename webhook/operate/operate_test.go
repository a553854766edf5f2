// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	k8stesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/operate"
)

func TestReplicasAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		a, b := c.replica(), c.replica()
		pass(2 * time.Second)
		for _, k := range []*operate.Keeper{a, b} {
			if err := k.Ready(); err != nil {
				t.Fatal(err)
			}
			c.trusted(k, c.bundle())
			if k.CABundle() != string(c.bundle()) {
				t.Error("proxies are told to trust another CA")
			}
		}
		patches := c.patches()
		if patches > 2 {
			t.Errorf("%d patches for two replicas, want at most 2", patches)
		}
		pass(48 * time.Hour)
		if got := c.patches(); got != patches {
			t.Errorf("%d patches in two quiet days", got-patches)
		}
		c.trusted(a, c.bundle()) // renewed since
	})
}

func TestOverwritingIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		c.replica()
		c.replica()
		pass(time.Hour)
		right := c.bundle()
		other, err := ca.New(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range [][]byte{nil, []byte("nonsense"), other.CertPEM(), append(bytes.Clone(right), other.CertPEM()...), append(bytes.Clone(right), "tail"...)} {
			c.overwrite(wrong)
			pass(2 * time.Second)
			if got := c.bundle(); !bytes.Equal(got, right) {
				t.Errorf("bundle %q was not repaired: %q", wrong, got)
			}
		}
	})
}

func TestReplacedCAIsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		a := c.replica()
		pass(30 * time.Second) // so that they read at different times
		b := c.replica()
		pass(time.Hour)
		old, before := c.bundle(), c.patches()
		authority := c.replaceCA()

		for range 180 { // at each moment either replica can be talked to
			pass(time.Second)
			c.trusted(a, c.bundle())
			c.trusted(b, c.bundle())
		}
		if got := c.bundle(); count(got) != 2 || !bytes.Contains(got, old) || !bytes.Contains(got, authority.CertPEM()) {
			t.Errorf("bundle has %d certificates during the overlap, want the old and the new", count(got))
		}
		if got := a.CABundle(); !strings.HasPrefix(got, string(authority.CertPEM())) || count([]byte(got)) != 2 {
			t.Error("proxies are not told to trust the new CA and the old one")
		}
		c.trusted(a, authority.CertPEM())
		c.trusted(b, authority.CertPEM())
		pass(20 * time.Minute)
		if got := c.bundle(); !bytes.Equal(got, authority.CertPEM()) || a.CABundle() != string(got) {
			t.Errorf("bundle has %d certificates after the overlap, want the new one alone", count(got))
		}
		if got := c.patches() - before; got > 4 {
			t.Errorf("%d patches for one replacement", got)
		}
	})
}

// Near its end the CA is replaced by the replicas themselves, once, and nobody
// who trusts the old one alone loses sight of them: neither an API server, nor the
// proxies, which were told of it when their pods were made.
func TestCAIsReplacedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		a := c.replica()
		pass(30 * time.Second)
		b := c.replica()
		pass(time.Minute)
		c.expiring(time.Now().Add(ca.RenewBefore + time.Hour))
		pass(30 * time.Minute)
		old, patches := c.bundle(), c.patches()
		for range 120 {
			pass(time.Minute)
			for _, k := range []*operate.Keeper{a, b} {
				c.trusted(k, old)
				c.trusted(k, c.bundle())
				c.trusted(k, []byte(k.CABundle()))
			}
		}
		if got := c.bundle(); count(got) != 2 || bytes.Equal(got, old) || a.CABundle() != b.CABundle() || a.CABundle() != string(got) {
			t.Errorf("bundle has %d certificates, want the new CA and the one before, everywhere", count(got))
		}
		if got := c.patches() - patches; got < 1 || got > 4 {
			t.Errorf("%d patches for one replacement", got)
		}
		if got := c.updates(); got != 2 { // expiring is the first
			t.Errorf("%d updates of the Secret, want one of the two replicas", got)
		}
	})
}

// A CA that can't be replaced stays in use.
func TestCAThatCantBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		var denied atomic.Bool
		c.PrependReactor("update", "secrets", func(k8stesting.Action) (bool, runtime.Object, error) {
			return denied.Load(), nil, apierrors.NewForbidden(schema.GroupResource{}, contract.CASecret, errors.New("no right"))
		})
		k := c.replica()
		pass(time.Minute)
		c.expiring(time.Now().Add(ca.RenewBefore - time.Hour))
		denied.Store(true)
		pass(time.Hour)
		c.trusted(k, c.bundle())
		if n := c.updates(); n > 70 {
			t.Errorf("%d tries in an hour", n)
		}
	})
}

func TestDeletedSecretIsNotReplacedInPassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		k := c.replica()
		pass(time.Minute)
		before := c.bundle()
		if err := c.CoreV1().Secrets(contract.SystemNamespace).Delete(context.Background(), contract.CASecret, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if !bytes.Equal(c.bundle(), before) {
			t.Error("the bundle changed")
		}
		c.trusted(k, before)
		if _, err := c.CoreV1().Secrets(contract.SystemNamespace).Get(context.Background(), contract.CASecret, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("a new CA was made: %v", err)
		}
	})
}

func TestAPIServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		var away atomic.Bool
		away.Store(true)
		c.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			return away.Load(), nil, errors.New("connection refused")
		})
		k := c.replica()
		pass(5 * time.Minute)
		if k.Ready() == nil || k.CABundle() != "" {
			t.Error("ready without an API server")
		}
		if _, err := k.Certificate(&tls.ClientHelloInfo{}); err == nil {
			t.Error("a certificate without a CA")
		}
		if n := len(c.Actions()); n > 120 {
			t.Errorf("%d calls in five minutes of absence", n)
		}
		away.Store(false)
		pass(20 * time.Second)
		if err := k.Ready(); err != nil {
			t.Error(err)
		}
		away.Store(true)
		pass(time.Hour)
		if err := k.Ready(); err != nil {
			t.Errorf("not ready after the API server went away: %v", err)
		}
	})
}

func TestRegistrationComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		k := c.replica()
		pass(time.Minute)
		if k.Ready() == nil {
			t.Error("ready without a registration")
		}
		registrations := c.AdmissionregistrationV1().MutatingWebhookConfigurations()
		for range 2 { // applied, deleted, and applied again
			if _, err := registrations.Create(context.Background(), registration(), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			pass(20 * time.Second)
			if err := k.Ready(); err != nil {
				t.Error(err)
			}
			c.trusted(k, c.bundle())
			if err := registrations.Delete(context.Background(), contract.WebhookService, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			pass(20 * time.Second)
		}
	})
}

// A patch that a faster replica made stale is dropped; the watch tells the rest.
func TestConflictIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		var patches atomic.Int32
		c.PrependReactor("patch", "*", func(a k8stesting.Action) (bool, runtime.Object, error) {
			patch := string(a.(k8stesting.PatchAction).GetPatch())
			if !strings.Contains(patch, `"resourceVersion":`) {
				t.Errorf("patch without a version: %s", patch)
			}
			return patches.Add(1) == 1, nil, apierrors.NewConflict(schema.GroupResource{}, contract.WebhookService, errors.New("stale"))
		})
		c.replica()
		pass(2 * time.Minute)
		if block, _ := pem.Decode(c.bundle()); block == nil || patches.Load() != 2 {
			t.Errorf("bundle %q after %d patches", c.bundle(), patches.Load())
		}
	})
}

// RBAC grants the watch of one name only to a request with this selector.
func TestWatchAsksForOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, registration())
		c.replica()
		pass(2 * time.Second)
		for _, a := range c.Actions() {
			if w, ok := a.(k8stesting.WatchAction); ok {
				if got := w.GetWatchRestrictions().Fields.String(); got != "metadata.name=shunt-webhook" {
					t.Errorf("field selector %q", got)
				}
				return
			}
		}
		t.Error("no watch")
	})
}
