// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/webhook"
	"github.com/shuntmesh/shunt/webhook/inject"
	"github.com/shuntmesh/shunt/webhook/operate"
)

// check refuses what would only show when the first pod is created.
func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("read arguments: %q is one too many (allowed: flags, see -h)", rest[0])
	}
	if o.image == "" {
		return errors.New("read --image: it is empty (allowed: an image such as shunt.dev/dataplane:" + version.Version + ")")
	}
	switch corev1.PullPolicy(o.pullPolicy) {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		return fmt.Errorf("read --image-pull-policy: %q is unknown (allowed: Always, IfNotPresent, Never)", o.pullPolicy)
	}
	if o.discovery == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(o.discovery); err != nil {
		return fmt.Errorf("read --discovery-address: %w (allowed: host:port, or nothing)", err)
	}
	return nil
}

// run serves until ctx ends or a part can't go on, and joins both parts.
func run(ctx context.Context, o options, log *slog.Logger) error {
	clients, err := operate.Connect(o.kubeconfig, o.namespace)
	if err != nil {
		return err
	}
	keeper := operate.New(operate.Options{
		Secrets:       clients.Secrets,
		Registrations: clients.Registrations,
		DNSNames:      []string{contract.WebhookService + "." + o.namespace + ".svc"},
		Log:           log,
	})
	server, err := webhook.NewServer(webhook.Options{
		Listen:        o.listen,
		ControlListen: o.controlListen,
		Certificate:   keeper.Certificate,
		Ready:         keeper.Ready,
		Inject:        func() inject.Options { return o.inject(keeper.CABundle()) },
		Log:           log,
	})
	if err != nil {
		return err
	}
	log.Info("listening", "webhook", server.Addr().String(), "control", server.ControlAddr().String(), "version", version.Version)
	return join(ctx, keeper.Run, server.Run)
}

func (o options) inject(discoveryCA string) inject.Options {
	return inject.Options{
		Image:            o.image,
		PullPolicy:       corev1.PullPolicy(o.pullPolicy),
		DiscoveryAddress: o.discovery,
		DiscoveryCA:      discoveryCA,
		Version:          version.Version,
	}
}

// join runs the parts until ctx ends or one of them fails, which ends the
// others, and returns all their errors.
func join(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() {
			if errs[i] = part(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}
