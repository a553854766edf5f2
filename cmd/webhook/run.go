// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/webhook"
)

// run serves until ctx ends or a part can't go on, and joins all parts. The
// server ends first: it still answers reviews for a while, and the others work
// for them.
func run(ctx context.Context, o options, log *slog.Logger) error {
	p, err := newParts(o, log)
	if err != nil {
		return err
	}
	server, err := webhook.NewServer(p.server(o, log))
	if err != nil {
		return err
	}
	log.Info("listening", "webhook", server.Addr().String(), "control", server.ControlAddr().String(), "version", version.Version)
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	serve := func(behind context.Context) error {
		defer stop()
		front, end := context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(behind, end)()
		return server.Run(front)
	}
	return join(behind, serve, p.keeper.Run, p.namespaces.Run, p.sidecars.Run, p.recorder.Run, p.guard.Run)
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
