// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/webhook"
	"github.com/shuntmesh/shunt/webhook/inject"
	"github.com/shuntmesh/shunt/webhook/operate"
)

// parts stand behind the server; each has a Run.
type parts struct {
	keeper     *operate.Keeper
	namespaces *operate.Namespaces
	sidecars   *operate.Sidecars
	recorder   *events.Recorder
	guard      *operate.Guard
	inject     func() inject.Options
}

func newParts(o options, log *slog.Logger) (*parts, error) {
	clients, err := operate.Connect(o.kubeconfig, o.namespace)
	if err != nil {
		return nil, err
	}
	me, err := os.Hostname() // a pod's is its name
	if err != nil {
		return nil, fmt.Errorf("read host name: %w", err)
	}
	p := &parts{
		keeper: operate.New(operate.Options{
			Secrets:       clients.Secrets,
			Registrations: clients.Registrations,
			DNSNames:      []string{contract.WebhookService + "." + o.namespace + ".svc"},
			Log:           log,
		}),
		namespaces: operate.NewNamespaces(clients.Namespaces, log),
		sidecars:   operate.NewSidecars(clients.Version, log),
		recorder: events.New(events.Options{
			Component: contract.WebhookService, Metrics: "shunt_webhook",
			Writer: clients.Events, UID: operate.PodUID(clients.Pods, log), Log: log,
		}),
	}
	p.inject = func() inject.Options { return o.inject(p.keeper.CABundle(), p.sidecars.Native()) }
	p.guard = operate.NewGuard(operate.GuardOptions{
		Me:         me,
		Leases:     clients.Leases,
		Namespaces: p.injected,
		Pods:       clients.Pods,
		Lacks:      p.lacks,
		Record:     p.recorder.Record,
		Log:        log,
	})
	return p, nil
}

// server returns what the server is made of.
func (p *parts) server(o options, log *slog.Logger) webhook.Options {
	return webhook.Options{
		Listen:        o.listen,
		ControlListen: o.controlListen,
		Certificate:   p.keeper.Certificate,
		Ready:         p.ready,
		Inject:        p.inject,
		Linger:        o.linger,
		Namespace:     p.namespace,
		Reviewed:      p.reviewed,
		Collectors:    slices.Concat(p.namespaces.Collectors(), p.recorder.Collectors(), p.guard.Collectors()),
		Control: map[string]http.Handler{
			"GET " + operate.GuardPath:          p.guard,
			"GET " + contract.PathWebhookConfig: http.HandlerFunc(p.config),
		},
		Log: log,
	}
}

// config says what this replica decides by. Nothing of it is secret: it stands in
// the pods.
func (p *parts) config(w http.ResponseWriter, _ *http.Request) {
	text, err := json.MarshalIndent(p.inject(), "", "  ")
	if err != nil {
		http.Error(w, fmt.Sprintf("encode options: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // a reader that has gone needs none
}

func (p *parts) ready() error {
	for _, ready := range []func() error{p.keeper.Ready, p.namespaces.Ready, p.sidecars.Ready} {
		if err := ready(); err != nil {
			return err
		}
	}
	return nil
}

func (p *parts) namespace(ctx context.Context, name string) (inject.Namespace, error) {
	ns, err := p.namespaces.Get(ctx, name)
	return inject.Namespace{Name: name, Labels: ns.Labels, Annotations: ns.Annotations}, err
}

// injected returns the namespaces whose pods are to have the proxy.
func (p *parts) injected() []string {
	names := p.namespaces.Labelled(contract.LabelInject, contract.InjectEnabled)
	if p.inject().IstioCompat {
		names = append(names, p.namespaces.Labelled(contract.IstioLabelNamespace, contract.InjectEnabled)...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(contract.SystemNamespaces(), name) })
}

// reviewed tells the owner of the pod. A refusal is told by the owner's own
// controller, which gets it as an error.
func (p *parts) reviewed(a webhook.Answer) {
	if h, worth := happening(a); worth {
		p.recorder.Record(h)
	}
}

func happening(a webhook.Answer) (h events.Happening, worth bool) {
	h = events.Happening{Object: subject(a), Type: corev1.EventTypeNormal}
	switch {
	case h.Object.Name == "":
		return h, false // a pod without an owner whose name is not known yet
	case a.Verdict == webhook.Injected:
		h.Reason, h.Message = "Injected", contract.ProxyContainer+" was added, since "+a.Message
	case a.Verdict == webhook.Skipped && a.Reason != inject.AlreadyInjected:
		h.Reason, h.Message = "InjectionSkipped", "no proxy was added, since "+a.Message
	default:
		return h, false
	}
	return h, true
}

// subject is the pod's controller, or a pod of nobody's itself. That has no uid
// yet; the recorder looks it up.
func subject(a webhook.Answer) corev1.ObjectReference {
	if a.Owner == nil {
		return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: a.Namespace, Name: a.Name}
	}
	return corev1.ObjectReference{
		APIVersion: a.Owner.APIVersion, Kind: a.Owner.Kind, Namespace: a.Namespace, Name: a.Owner.Name, UID: a.Owner.UID,
	}
}

// lacks decides as at admission: whoever would get the proxy now, or would be
// refused, should not be running without it.
func (p *parts) lacks(ctx context.Context, pod *corev1.Pod) string {
	ns, err := p.namespace(ctx, pod.Namespace)
	if err != nil {
		return "" // it was deleted since the pods were listed
	}
	d, err := inject.Decide(pod, ns, p.inject())
	switch {
	case err != nil:
		return "the pod has no proxy, and would be refused today: " + err.Error()
	case d.Injected():
		return "the pod has no proxy although " + d.Reason.Words() + ": it is older than that, or was created while the webhook was not registered (restart it)"
	default:
		return ""
	}
}
