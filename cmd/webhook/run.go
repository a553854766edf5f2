// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

	"github.com/shuntmesh/shunt/internal/task"
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
	return task.Join(behind, serve, p.keeper.Run, p.namespaces.Run, p.sidecars.Run, p.recorder.Run, p.guard.Run)
}
