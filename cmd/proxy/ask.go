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
	var stay time.Duration
	if name == "drain" {
		fs.DurationVar(&stay, "linger", 0, "return only after this time, to keep the proxy from its SIGTERM")
	}
	if err := w.parse(fs, args); err != nil {
		return err
	}
	if stay < 0 {
		return usageError{fmt.Errorf("flag linger: %v (allowed: 0 or more, such as 5s)", stay)}
	}
	method, path := http.MethodGet, "/stats"
	switch name {
	case "drain":
		method, path = http.MethodPost, "/drain"
	case "config-dump":
		path = "/config_dump"
	}
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := admin.Do(asking, *socket, method, path, w.stdout); err != nil {
		return err
	}
	return linger(ctx, stay)
}

func (w world) version(args []string) error {
	if err := w.parse(flag.NewFlagSet("version", flag.ContinueOnError), args); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s %s %s/%s\n", version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
