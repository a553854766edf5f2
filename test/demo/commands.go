// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/shuntmesh/shunt/shuntctl/images"
	"github.com/shuntmesh/shunt/test/demo/client"
	"github.com/shuntmesh/shunt/test/demo/scenario"
	"github.com/shuntmesh/shunt/test/demo/server"
)

// image is what the demo's pods run.
func image() images.Spec {
	return images.Spec{Name: "demo", Binaries: []string{"demo"}, UID: 65532}
}

func runServer(ctx context.Context, args []string, out io.Writer) error {
	flags := newFlags("server")
	listen := flags.String("listen", ":50051", "address to serve on")
	atOnce := flags.Bool("exit-at-once", false, "exit on SIGTERM with calls in flight, instead of GracefulStop")
	if err := parse(flags, args); err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read host name: %w", err)
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	o := server.Options{Listener: l, Name: cmp.Or(os.Getenv("POD_NAME"), hostname), Log: out}
	if *atOnce {
		o.Exit = func() { os.Exit(0) }
	}
	return server.Run(ctx, o)
}

func runClient(ctx context.Context, args []string, out io.Writer) error {
	o := client.Options{Out: out}
	flags := newFlags("client")
	flags.StringVar(&o.Target, "target", "dns:///localhost:50051", "whom to call, as grpc.NewClient takes it")
	addLoad(flags, &o.Callers, &o.Rate)
	flags.DurationVar(&o.Timeout, "timeout", 5*time.Second, "of one call")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := checkLoad(o.Callers, o.Rate); err != nil {
		return err
	}
	return client.Run(ctx, o)
}

func runScenario(ctx context.Context, args []string, out io.Writer) error {
	o := scenario.Options{Out: out, Terminal: isTerminal(out), Started: time.Now()}
	flags := newFlags("run")
	kubeconfig, kubeContext := addCluster(flags)
	flags.StringVar(&o.Image, "image", image().Ref(""), "image of this demo, which nodes hold or can pull")
	addLoad(flags, &o.Callers, &o.Rate)
	flags.IntVar(&o.WindowCalls, "window-calls", 5000, "calls per pod that are counted at least")
	flags.BoolVar(&o.Cleanup, "cleanup", false, "remove the demo's namespaces at the end")
	timeout := flags.Duration("timeout", 10*time.Minute, "of the whole run")
	flags.Func("started", "when the demo began, in Unix seconds: demo.seconds_total counts from there (default now)", func(s string) error {
		var seconds int64
		_, err := fmt.Sscanf(s, "%d", &seconds)
		o.Started = time.Unix(seconds, 0)
		return err
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := checkLoad(o.Callers, o.Rate); err != nil {
		return err
	}
	var err error
	if o.Kube, err = connect(*kubeconfig, *kubeContext); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("gave up after %s (--timeout)", *timeout))
	defer cancel()
	return scenario.Run(ctx, o)
}

func runDown(ctx context.Context, args []string) error {
	flags := newFlags("down")
	kubeconfig, kubeContext := addCluster(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	kube, err := connect(*kubeconfig, *kubeContext)
	if err != nil {
		return err
	}
	return scenario.Remove(ctx, kube)
}

func runImage(ctx context.Context, args []string, out io.Writer) error {
	flags := newFlags("image")
	file := flags.String("o", "demo.tar", "tarball to write")
	var to images.Remote
	flags.StringVar(&to.Registry, "image-registry", "", "push to this registry, and write no tarball")
	if err := parse(flags, args); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	if filepath.Base(self) != "demo" {
		return fmt.Errorf("this binary is called %s, and the image needs it as demo (build it with -o demo)", filepath.Base(self))
	}
	var results []images.Result
	if to.Registry != "" {
		results, err = images.Push(ctx, []images.Spec{image()}, filepath.Dir(self), to)
	} else {
		results, err = images.Save([]images.Spec{image()}, filepath.Dir(self), *file)
	}
	for _, r := range results {
		fmt.Fprintln(out, r.Image, r.Digest)
	}
	return err
}

func newFlags(command string) *flag.FlagSet {
	return flag.NewFlagSet("demo "+command, flag.ContinueOnError)
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, got %q", flags.Name(), flags.Args())
	}
	return nil
}

func addLoad(flags *flag.FlagSet, callers *int, rate *float64) {
	flags.IntVar(callers, "callers", 8, "calls in flight at most")
	flags.Float64Var(rate, "rate", 1500, "calls a second, 0 for as fast as answers come")
}

func addCluster(flags *flag.FlagSet) (kubeconfig, kubeContext *string) {
	return flags.String("kubeconfig", "", "kubeconfig file (default $KUBECONFIG, then ~/.kube/config)"),
		flags.String("context", "", "context of the kubeconfig (default its current one)")
}

func checkLoad(callers int, rate float64) error {
	if callers < 1 || callers > 1000 {
		return fmt.Errorf("--callers is %d (allowed: 1 to 1000)", callers)
	}
	if rate < 0 {
		return errors.New("--rate is negative (allowed: 0 and more)")
	}
	return nil
}

func connect(path, kubeContext string) (kubernetes.Interface, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: kubeContext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w (name one with --kubeconfig or $KUBECONFIG)", err)
	}
	config.QPS, config.Burst = 50, 100 // polls of several waits run side by side
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for %s: %w", config.Host, err)
	}
	return kube, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
