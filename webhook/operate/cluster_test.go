// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

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

// bundle is the caBundle of the entries; they must agree.
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

// expiring puts a CA into the Secret that ends at a time.
func (c *cluster) expiring(end time.Time) {
	c.Helper()
	authority, err := ca.New(end.Add(-ca.Life))
	if err != nil {
		c.Fatal(err)
	}
	key, err := authority.KeyPEM()
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.CoreV1().Secrets(contract.SystemNamespace).Update(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: contract.CASecret},
		Data:       map[string][]byte{corev1.TLSCertKey: authority.StoredPEM(), corev1.TLSPrivateKeyKey: key},
	}, metav1.UpdateOptions{}); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) updates() int { return c.verbs("update") }

func (c *cluster) patches() int { return c.verbs("patch") }

func (c *cluster) verbs(verb string) int {
	n := 0
	for _, a := range c.Actions() {
		if a.GetVerb() == verb {
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
	between := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			c.Fatal(err)
		}
		between.AddCert(certificate)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: serverName, Roots: roots, Intermediates: between, CurrentTime: time.Now()}); err != nil {
		c.Error(err)
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func count(bundle []byte) int { return bytes.Count(bundle, []byte("BEGIN CERTIFICATE")) }
