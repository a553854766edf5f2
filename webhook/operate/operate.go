// SPDX-License-Identifier: Apache-2.0

// Package operate does what the webhook needs the API server for: it holds the
// serving certificate, and keeps the caBundle of the registration right. It may
// read and create the CA's Secret, and watch and patch the one
// MutatingWebhookConfiguration; it touches nothing else.
//
// Any number of replicas do this side by side without a leader: each patches
// only what differs from what all of them would write.
package operate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/ca/kubesecret"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
)

const (
	// leafLife is how long a serving certificate is valid. It lives in memory
	// alone and renews itself, so a short life costs nothing.
	leafLife = 24 * time.Hour

	// callTimeout bounds one call of the API server.
	callTimeout = 10 * time.Second

	minPause = 200 * time.Millisecond // after the first error in a row
	maxPause = 5 * time.Second        // after many
)

// Options is what a Keeper is made of. All fields are needed.
type Options struct {
	Secrets       kubesecret.Secrets // of the system namespace
	Registrations Registrations
	DNSNames      []string // that the API server knows the webhook by
	Log           *slog.Logger
}

// Keeper holds the certificate and keeps the registration. Its methods but Run
// may be called at any time, from anywhere.
type Keeper struct {
	options Options
	store   ca.Store
	trust   atomic.Pointer[trust]   // nil until the CA was read
	leaf    atomic.Pointer[ca.Leaf] // nil until the registration trusts our CA

	// Of the goroutine in Run alone.
	serving  *ca.Authority // that leaf was issued by
	stopLeaf func()        // returns when the leaf's renewal has ended
}

// New returns a Keeper that has not done anything yet.
func New(o Options) *Keeper {
	return &Keeper{
		options:  o,
		store:    kubesecret.New(o.Secrets, contract.CASecret),
		stopLeaf: func() {},
	}
}

// Certificate is for tls.Config.
func (k *Keeper) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf := k.leaf.Load()
	if leaf == nil {
		return nil, errNotReady
	}
	return leaf.GetCertificate(hello)
}

// CABundle is what injected proxies trust discovery by, in PEM: the mesh's CA,
// and the one before while that is valid, or for some minutes when somebody else
// has replaced it.
func (k *Keeper) CABundle() string {
	t := k.trust.Load()
	if t == nil {
		return ""
	}
	return t.bundle(time.Now())
}

var errNotReady = errors.New("not ready: the CA is not read, or the registration " + contract.WebhookService + " does not trust it yet (see the log)")

// Ready returns nil once the registration was seen to trust the certificate
// that is served. It stays so: a webhook that has lost sight of the API server
// can still answer it.
func (k *Keeper) Ready() error {
	if k.leaf.Load() == nil {
		return errNotReady
	}
	return nil
}

// Run does the work until ctx ends. Errors of the API server are logged and
// tried again; Run returns an error only when the certificate in use has
// expired and can't be renewed.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer func() { fail(nil); k.stopLeaf() }()
	retry := task.Backoff{Min: minPause, Max: maxPause}
	for ctx.Err() == nil {
		err := k.session(ctx, fail)
		if err == nil {
			retry.Reset()
			continue
		}
		if ctx.Err() != nil {
			break
		}
		pause := retry.Next()
		k.options.Log.Warn("try again", "err", err, "pause", pause.String())
		task.Sleep(ctx, pause)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("keep serving certificate: %w", err)
	}
	return nil
}

// session reads the CA, puts the registration right and watches it for
// reread. The leaf comes last: it must not be served before it is trusted.
func (k *Keeper) session(ctx context.Context, fail func(error)) error {
	if err := k.reload(ctx); err != nil {
		return err
	}
	registration, err := k.get(ctx)
	if err != nil {
		return err
	}
	if err := k.repair(ctx, registration); err != nil {
		return err
	}
	if err := k.serve(ctx, fail); err != nil {
		return err
	}
	return k.watch(ctx, registration.ResourceVersion, fail)
}

// reload reads the CA, and replaces it when it nears its end. Only the first read
// may create one: a Secret that is deleted later is somebody's act, and all
// proxies trust the CA that was in it.
func (k *Keeper) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now := time.Now()
	old := k.trust.Load()
	if old == nil {
		authority, err := ca.LoadOrCreate(ctx, k.store, now)
		if err != nil {
			return err
		}
		k.trust.Store(&trust{current: authority, since: now})
		return nil
	}
	certPEM, keyPEM, err := k.store.Load(ctx)
	if errors.Is(err, ca.ErrNotFound) {
		k.options.Log.Warn("the CA's Secret is gone; the CA that was in it stays in use until a restart makes a new one", "secret", contract.CASecret)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read CA again: %w", err)
	}
	authority, err := ca.Parse(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("read CA again: %w", err)
	}
	if next, err := ca.Renew(ctx, k.store, authority, now); err != nil {
		k.options.Log.Warn("the CA is due to be replaced; the old one stays in use", "err", err, "expires", authority.NotAfter())
	} else {
		authority = next
	}
	if string(authority.CertPEM()) != string(old.current.CertPEM()) {
		k.options.Log.Info("the CA was replaced", "secret", contract.CASecret, "expires", authority.NotAfter())
		k.trust.Store(&trust{current: authority, previous: old.current, since: now})
	}
	return nil
}

// serve issues a leaf when the authority is another one than before.
func (k *Keeper) serve(ctx context.Context, fail func(error)) error {
	authority := k.trust.Load().current
	if authority == k.serving {
		return nil
	}
	leaf, err := ca.NewLeaf(authority, leafLife, k.options.DNSNames...)
	if err != nil {
		return err
	}
	k.stopLeaf()
	ctx, cancel := context.WithCancel(ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() {
		if err := leaf.Run(ctx); err != nil {
			fail(err)
		}
	})
	k.stopLeaf = func() { cancel(); renewal.Wait() }
	k.serving = authority
	k.leaf.Store(leaf)
	return nil
}
