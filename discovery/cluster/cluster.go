// SPDX-License-Identifier: Apache-2.0

// Package cluster runs discovery against a real Kubernetes cluster: it makes
// the clients, loads the mesh's CA and issues the server's certificate.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	typedauthenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	typeddiscoveryv1 "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/shuntmesh/shunt/discovery"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/ca/kubesecret"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/internal/version"
)

// leafLife is short, since there is no revocation; a renewal costs a signature.
const leafLife = 24 * time.Hour

// readTimeout bounds reading the CA again.
const readTimeout = 10 * time.Second

// Options are discovery's flags.
type Options struct {
	Log              *slog.Logger
	Listen           string // host:port
	ListenHTTP       string // host:port
	Kubeconfig       string // "" for the pod's service account
	Namespace        string
	ClusterDomain    string
	MaxStreams       int
	MaxConnectionAge time.Duration
}

// Run serves until ctx ends.
func Run(ctx context.Context, o Options) error {
	c, err := newClients(o.Kubeconfig)
	if err != nil {
		return err
	}
	leaf, err := newLeaf(ctx, c, o)
	if err != nil {
		return err
	}
	recorder := events.New(events.Options{
		Component: contract.DiscoveryService, Metrics: "shunt_discovery", Log: o.Log,
		Writer: func(namespace string) events.Writer { return c.events.Events(namespace) },
	})
	refusals := kube.NewRefusals(recorder.Record, o.Log)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return leaf.Run(ctx) })
	g.Go(func() error { return recorder.Run(ctx) })
	g.Go(func() error {
		return discovery.Run(ctx, discovery.Options{
			Log:        o.Log,
			Listen:     o.Listen,
			ListenHTTP: o.ListenHTTP,
			Source: func(sink kube.Sink) discovery.Source {
				return kube.NewSource(c.core, c.discovery, kube.Options{ClusterDomain: o.ClusterDomain, Refusals: refusals, Log: o.Log}, sink)
			},
			Collectors:       slices.Concat(refusals.Collectors(), recorder.Collectors()),
			Reviewer:         kube.NewReviewer(c.authentication.TokenReviews(), contract.DiscoveryAudience),
			Certificate:      leaf.GetCertificate,
			MaxStreams:       o.MaxStreams,
			MaxConnectionAge: o.MaxConnectionAge,
		})
	})
	return g.Wait()
}

func newLeaf(ctx context.Context, c *clients, o Options) (*ca.Leaf, error) {
	store := kubesecret.New(c.core.Secrets(o.Namespace), contract.CASecret)
	authority, err := ca.LoadOrCreate(ctx, store, time.Now())
	if err != nil {
		return nil, err
	}
	name := contract.DiscoveryService
	inNamespace := name + "." + o.Namespace + ".svc"
	leaf, err := ca.NewLeaf(authority, leafLife, name, inNamespace, inNamespace+"."+o.ClusterDomain)
	if err != nil {
		return nil, err
	}
	leaf.Follow(func(ctx context.Context) *ca.Authority { return newest(ctx, store, o.Log) })
	return leaf, nil
}

// newest is the CA that the webhook has put in the Secret by now; nil when it
// can't be read, or is none.
func newest(ctx context.Context, store ca.Store, log *slog.Logger) *ca.Authority {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	certPEM, keyPEM, err := store.Load(ctx)
	if err == nil {
		var authority *ca.Authority
		if authority, err = ca.Parse(certPEM, keyPEM); err == nil {
			return authority
		}
	}
	log.Warn("read CA again; the one before stays in use", "err", err)
	return nil
}

// clients are typed, and only those that are needed: the clientset is twice as
// many packages.
type clients struct {
	core           *typedcorev1.CoreV1Client
	events         *typedcorev1.CoreV1Client // at a rate of its own
	discovery      *typeddiscoveryv1.DiscoveryV1Client
	authentication *typedauthenticationv1.AuthenticationV1Client
}

func newClients(kubeconfig string) (*clients, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("prepare connection to the API server: %w", err)
	}
	return newClientsFor(config, transport)
}

func newClientsFor(config *rest.Config, transport *http.Client) (*clients, error) {
	var c clients
	var err error
	if c.core, err = typedcorev1.NewForConfigAndClient(config, transport); err != nil {
		return nil, fmt.Errorf("make core client: %w", err)
	}
	if c.events, err = typedcorev1.NewForConfigAndClient(paced(config), transport); err != nil {
		return nil, fmt.Errorf("make client of Events: %w", err)
	}
	if c.discovery, err = typeddiscoveryv1.NewForConfigAndClient(config, transport); err != nil {
		return nil, fmt.Errorf("make discovery client: %w", err)
	}
	if c.authentication, err = typedauthenticationv1.NewForConfigAndClient(config, transport); err != nil {
		return nil, fmt.Errorf("make authentication client: %w", err)
	}
	return &c, nil
}

// paced bounds the calls a second: Events of many Services must not become load.
func paced(config *rest.Config) *rest.Config {
	slow := rest.CopyConfig(config)
	slow.QPS, slow.Burst = 5, 20
	return slow
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find API server: %w (outside of a pod, give --kubeconfig)", err)
	}
	config.UserAgent = "shunt-discovery/" + version.Version
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	// A restart of many proxies asks for as many token reviews. The API
	// server's priority and fairness protects it; ours bounds concurrency.
	config.QPS = -1
	return config, nil
}
