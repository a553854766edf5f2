// SPDX-License-Identifier: Apache-2.0

// Command redirect steers a pod's TCP connections to its proxy. It is the init
// container of an injected pod, and a tool to look at the result:
// `redirect apply|check|remove|validate|print|explain|detect`.
package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
	"github.com/shuntmesh/shunt/redirect/validate"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], cli.Env{
		Stdout: os.Stdout, Stderr: os.Stderr, Backends: backends.All(), LookupEnv: os.LookupEnv,
		Owner: validate.Owner{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}, Exec: become,
	})
}

// become replaces this process by another program, in which signals are its own
// again.
func become(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, argv, os.Environ())
}
