// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// liveTimeout bounds the live read of one namespace. The API server waits 5 s
// for the review that asks for it, and its timeout says less than our error.
const liveTimeout = 3 * time.Second

// NamespaceReader is what is asked of the API server about namespaces, of which
// it sends the metadata alone.
type NamespaceReader interface {
	Get(ctx context.Context, name string, o metav1.GetOptions, subresources ...string) (*metav1.PartialObjectMetadata, error)
	List(ctx context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// Namespaces knows what every namespace says, so that a review asks nobody. It
// keeps what it knows while the API server is away.
type Namespaces struct {
	reader NamespaceReader
	log    *slog.Logger
	store  *namespaceStore
	flight singleflight.Group
	live   prometheus.Counter
}

// NewNamespaces returns an empty cache; Run fills it.
func NewNamespaces(reader NamespaceReader, log *slog.Logger) *Namespaces {
	return &Namespaces{
		reader: reader, log: log, store: newNamespaceStore(),
		live: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shunt_webhook_namespace_live_reads_total",
			Help: "Namespaces that were read from the API server during a review, since the cache had not seen them yet.",
		}),
	}
}

// Collectors are the metrics.
func (n *Namespaces) Collectors() []prometheus.Collector { return []prometheus.Collector{n.live} }

// Ready returns nil once all namespaces were listed. It stays so.
func (n *Namespaces) Ready() error {
	select {
	case <-n.store.listed:
		return nil
	default:
		return fmt.Errorf("not ready: the namespaces are not listed yet (see the log)")
	}
}

// Get returns the namespace. One that the cache has not seen, such as one that
// was applied together with its first pod, is read from the API server, by one
// call however many ask. An error says that it could not be read; nothing may
// be concluded about its pods then.
func (n *Namespaces) Get(ctx context.Context, name string) (Namespace, error) {
	if ns, known := n.store.get(name); known {
		return ns, nil
	}
	result := n.flight.DoChan(name, func() (any, error) {
		// One caller may give up while others still wait.
		return n.read(context.WithoutCancel(ctx), name)
	})
	select {
	case <-ctx.Done():
		return Namespace{}, fmt.Errorf("read namespace %s: %w", name, ctx.Err())
	case r := <-result:
		ns, _ := r.Val.(Namespace)
		return ns, r.Err
	}
}

func (n *Namespaces) read(ctx context.Context, name string) (Namespace, error) {
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	n.live.Inc()
	object, err := n.reader.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Namespace{}, fmt.Errorf("read namespace %s, which the cache does not know yet (try again): %w", name, err)
	}
	return n.store.learn(object), nil
}

// Labelled returns the names of the namespaces with the label, in order.
func (n *Namespaces) Labelled(key, value string) []string { return n.store.labelled(key, value) }

// Run watches all namespaces until ctx ends. Errors are logged and tried again.
func (n *Namespaces) Run(ctx context.Context) error {
	reflector := cache.NewReflectorWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return n.reader.List(ctx, o)
		},
		WatchFuncWithContext: n.reader.Watch,
	}, &metav1.PartialObjectMetadata{}, n.store, cache.ReflectorOptions{Name: "namespaces", TypeDescription: "Namespace"})
	// The reflector logs by the logger of its context.
	reflector.RunWithContext(logr.NewContext(ctx, logr.FromSlogHandler(n.log.Handler())))
	return nil
}
