// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// options is what the flags say.
type options struct {
	listen, controlListen string
	namespace, kubeconfig string
	image, pullPolicy     string
	pullSecrets           []string
	discovery             string
	capture               string
	linger                time.Duration
	nativeSidecars        string
	istioCompat           bool
	never, always         []labels.Selector
	byDefault             bool
	logLevel              slog.Level
	version               bool
}

// maxLinger leaves room for the rest of the shutdown in the 30 s that the
// kubelet gives by default.
const maxLinger = 20 * time.Second

// What --native-sidecars may say.
const (
	sidecarsAuto = "auto"
	sidecarsOn   = "on"
	sidecarsOff  = "off"
)

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("webhook", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", contract.PortWebhook), "host:port of the webhook (HTTPS)")
	f.StringVar(&o.controlListen, "control-listen", fmt.Sprintf(":%d", contract.PortControlHTTP), "host:port of /metrics, /ready and the guard's list (HTTP)")
	f.StringVar(&o.namespace, "namespace", contract.SystemNamespace, "namespace of the control plane, where the CA's Secret is")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API server (default: the pod's service account)")
	f.StringVar(&o.discovery, "discovery-address",
		fmt.Sprintf("%s.%s.svc:%d", contract.DiscoveryService, contract.SystemNamespace, contract.PortDiscovery),
		`host:port of discovery as the proxies reach it; "" makes them pass everything through`)
	f.DurationVar(&o.linger, "linger", 5*time.Second, "how long reviews are taken after SIGTERM, until the API server has heard of it")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	o.injectFlags(f)
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

// injectFlags are what is injected, and into whom.
func (o *options) injectFlags(f *flag.FlagSet) {
	f.StringVar(&o.image, "image", "shunt.dev/dataplane:"+version.Version, "image of the injected containers")
	f.StringVar(&o.pullPolicy, "image-pull-policy", string(corev1.PullIfNotPresent), "of the injected containers: Always, IfNotPresent or Never")
	f.Func("image-pull-secret", "name of a Secret in the pods' namespaces that the image is pulled with (repeatable)", func(s string) error {
		o.pullSecrets = append(o.pullSecrets, s)
		return nil
	})
	f.StringVar(&o.capture, "capture", contract.InterceptionInit,
		"who redirects a pod's traffic: init, a container of the pod's own that needs NET_ADMIN, or cni, the node (shunt-node has to run on every node)")
	f.StringVar(&o.nativeSidecars, "native-sidecars", sidecarsAuto,
		"on, off, or auto: on from Kubernetes 1.29, by the API server's version (choose off while a node is older)")
	f.BoolVar(&o.istioCompat, "istio-compat", false, "honour Istio's switches that turn injection on too; the registration needs its entries as well (manifests/overlays/istio-compat)")
	f.Func("never-inject", "selector of pods that get no proxy unless they or their namespace say so (repeatable)", selectors(&o.never))
	f.Func("always-inject", "selector of pods that get one unless they or their namespace say otherwise (repeatable; the registration has to send them)", selectors(&o.always))
	f.BoolVar(&o.byDefault, "inject-by-default", false, "give a proxy to pods of which nobody said anything (the registration has to send them)")
}

func selectors(list *[]labels.Selector) func(string) error {
	return func(text string) error {
		selector, err := labels.Parse(text)
		if err != nil {
			return fmt.Errorf("%w (allowed: a label selector such as app=web,tier!=cache)", err)
		}
		if selector.Empty() {
			return errors.New("it is empty, and would match every pod (allowed: a label selector such as app=web)")
		}
		*list = append(*list, selector)
		return nil
	}
}

// check refuses what would only show when the first pod is created.
func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("read arguments: %q is one too many (allowed: flags, see -h)", rest[0])
	}
	if o.linger < 0 || o.linger > maxLinger {
		return fmt.Errorf("read --linger: %v is out of range (allowed: 0s to %v)", o.linger, maxLinger)
	}
	if o.image == "" {
		return errors.New("read --image: it is empty (allowed: an image such as shunt.dev/dataplane:" + version.Version + ")")
	}
	policies := []string{string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever)}
	if err := oneOf("image-pull-policy", o.pullPolicy, policies...); err != nil {
		return err
	}
	if err := oneOf("capture", o.capture, contract.InterceptionInit, contract.InterceptionCNI); err != nil {
		return err
	}
	if err := oneOf("native-sidecars", o.nativeSidecars, sidecarsAuto, sidecarsOn, sidecarsOff); err != nil {
		return err
	}
	for _, name := range o.pullSecrets {
		if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
			return fmt.Errorf("read --image-pull-secret: %q is no name of a Secret (%s)", name, strings.Join(wrong, "; "))
		}
	}
	if o.discovery == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(o.discovery); err != nil {
		return fmt.Errorf("read --discovery-address: %w (allowed: host:port, or nothing)", err)
	}
	return nil
}

func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("read --%s: %q is unknown (allowed: %s)", flag, value, strings.Join(allowed, ", "))
}

// inject returns what to inject by. native is whether the cluster has native
// sidecars, for auto.
func (o options) inject(discoveryCA string, native bool) inject.Options {
	return inject.Options{
		Image:            o.image,
		PullPolicy:       corev1.PullPolicy(o.pullPolicy),
		PullSecrets:      o.pullSecrets,
		DiscoveryAddress: o.discovery,
		DiscoveryCA:      discoveryCA,
		Version:          version.Version,
		Interception:     o.capture,
		ClassicSidecars:  o.nativeSidecars == sidecarsOff || o.nativeSidecars == sidecarsAuto && !native,
		IstioCompat:      o.istioCompat,
		Never:            o.never,
		Always:           o.always,
		ByDefault:        o.byDefault,
	}
}
