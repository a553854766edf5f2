// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/proxy/admin"
)

// usageError is an error of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parse reads flags; nothing may follow them.
func (w world) parse(fs *flag.FlagSet, args []string) error {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(w.stdout)
		fmt.Fprintf(w.stdout, "Usage: proxy %s [flags]\n", fs.Name())
		fs.PrintDefaults()
		return err
	}
	if err != nil {
		return usageError{err}
	}
	if fs.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q (flags only are allowed)", fs.Arg(0))}
	}
	return nil
}

// ask sends a command to the running proxy.
func (w world) ask(ctx context.Context, name string, args []string) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	socket := fs.String("admin-socket", contract.AdminSocket, "unix socket of the running proxy")
	if err := w.parse(fs, args); err != nil {
		return err
	}
	method, path := http.MethodGet, "/stats"
	switch name {
	case "drain":
		method, path = http.MethodPost, "/drain"
	case "config-dump":
		path = "/config_dump"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return admin.Do(ctx, *socket, method, path, w.stdout)
}

func (w world) version(args []string) error {
	if err := w.parse(flag.NewFlagSet("version", flag.ContinueOnError), args); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s %s %s/%s\n", version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
