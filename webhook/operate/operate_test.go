// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/operate"
)

const serverName = "shunt-webhook.shunt-system.svc"

func registration() *admissionregistrationv1.MutatingWebhookConfiguration {
	entry := func(name string) admissionregistrationv1.MutatingWebhook {
		return admissionregistrationv1.MutatingWebhook{Name: name, TimeoutSeconds: new(int32(5)), ClientConfig: admissionregistrationv1.WebhookClientConfig{
			Service: &admissionregistrationv1.ServiceReference{Namespace: contract.SystemNamespace, Name: contract.WebhookService},
		}}
	}
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: contract.WebhookService},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{entry("namespace.webhook.shunt.dev"), entry("pod.webhook.shunt.dev")},
	}
}

// cluster is an API server's memory with some replicas at work on it.
type cluster struct {
	*testing.T
	*fake.Clientset
}

func newCluster(t *testing.T, objects ...runtime.Object) *cluster {
	return &cluster{t, fake.NewClientset(objects...)}
}

func (c *cluster) replica() *operate.Keeper {
	k := operate.New(operate.Options{
		Secrets:       c.CoreV1().Secrets(contract.SystemNamespace),
		Registrations: c.AdmissionregistrationV1().MutatingWebhookConfigurations(),
		DNSNames:      []string{serverName},
		Log:           slog.New(slog.DiscardHandler),
	})
	done := make(chan error, 1)
	go func() { done <- k.Run(c.Context()) }()
	// The bubble of synctest ends only when Run has ended with its goroutines.
	go func() {
		if err := <-done; err != nil {
			c.Errorf("Run: %v", err)
		}
	}()
	return k
}

// bundles are the caBundles of the two entries; they must agree.
func (c *cluster) bundle() []byte {
	c.Helper()
	r := c.read()
	if !bytes.Equal(r.Webhooks[0].ClientConfig.CABundle, r.Webhooks[1].ClientConfig.CABundle) {
		c.Error("the entries have different bundles")
	}
	if r.Webhooks[0].ClientConfig.Service == nil || r.Webhooks[1].TimeoutSeconds == nil {
		c.Error("a patch has taken away what is not ours")
	}
	return r.Webhooks[0].ClientConfig.CABundle
}

func (c *cluster) read() *admissionregistrationv1.MutatingWebhookConfiguration {
	c.Helper()
	r, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(context.Background(), contract.WebhookService, metav1.GetOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return r
}

func (c *cluster) overwrite(bundle []byte) {
	c.Helper()
	r := c.read()
	for i := range r.Webhooks {
		r.Webhooks[i].ClientConfig.CABundle = bundle
	}
	if _, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(context.Background(), r, metav1.UpdateOptions{}); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) replaceCA() *ca.Authority {
	c.Helper()
	authority, err := ca.New(time.Now())
	if err != nil {
		c.Fatal(err)
	}
	key, err := authority.KeyPEM()
	if err != nil {
		c.Fatal(err)
	}
	secrets := c.CoreV1().Secrets(contract.SystemNamespace)
	if err := secrets.Delete(context.Background(), contract.CASecret, metav1.DeleteOptions{}); err != nil {
		c.Fatal(err)
	}
	if _, err := secrets.Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: contract.CASecret},
		Data:       map[string][]byte{corev1.TLSCertKey: authority.CertPEM(), corev1.TLSPrivateKeyKey: key},
	}, metav1.CreateOptions{}); err != nil {
		c.Fatal(err)
	}
	return authority
}

func (c *cluster) patches() int {
	n := 0
	for _, a := range c.Actions() {
		if a.GetVerb() == "patch" {
			n++
		}
	}
	return n
}

// trusted fails unless an API server with the bundle would talk to k.
func (c *cluster) trusted(k *operate.Keeper, bundle []byte) {
	c.Helper()
	cert, err := k.Certificate(&tls.ClientHelloInfo{})
	if err != nil {
		c.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: serverName, Roots: roots, CurrentTime: time.Now()}); err != nil {
		c.Error(err)
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func count(bundle []byte) int { return bytes.Count(bundle, []byte("BEGIN CERTIFICATE")) }

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
		away := true
		c.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			return away, nil, errors.New("connection refused")
		})
		k := c.replica()
		pass(5 * time.Minute)
		if k.Ready() == nil || k.CABundle() != "" {
			t.Error("ready without an API server")
		}
		if _, err := k.Certificate(&tls.ClientHelloInfo{}); err == nil {
			t.Error("a certificate without a CA")
		}
		if n := len(c.Actions()); n > 60 {
			t.Errorf("%d calls in five minutes of absence", n)
		}
		away = false
		pass(20 * time.Second)
		if err := k.Ready(); err != nil {
			t.Error(err)
		}
		away = true
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
		conflicts := 0
		c.PrependReactor("patch", "*", func(a k8stesting.Action) (bool, runtime.Object, error) {
			patch := string(a.(k8stesting.PatchAction).GetPatch())
			if !strings.Contains(patch, `"resourceVersion":`) {
				t.Errorf("patch without a version: %s", patch)
			}
			conflicts++
			return conflicts == 1, nil, apierrors.NewConflict(schema.GroupResource{}, contract.WebhookService, errors.New("stale"))
		})
		c.replica()
		pass(2 * time.Minute)
		if block, _ := pem.Decode(c.bundle()); block == nil || conflicts != 2 {
			t.Errorf("bundle %q after %d patches", c.bundle(), conflicts)
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
