// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/judge"
	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

// reportPort is where the judge's report can be read.
const reportPort = 7002

// judgeWitnesses takes the dials of witnesses, calls every pod of the nodes whose
// process files are named, and answers with its report, until it is told to end.
func judgeWitnesses(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	address := flags.String("address", "", "IP address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := net.Listen("tcp", net.JoinHostPort(*address, strconv.Itoa(testimony.PortJudge)))
	if err != nil {
		return fmt.Errorf("listen for witnesses: %w", err)
	}
	j := judge.New(time.Now)
	report := &http.Server{Addr: net.JoinHostPort(*address, strconv.Itoa(reportPort)), Handler: j, ReadHeaderTimeout: time.Second}
	stop := context.AfterFunc(ctx, func() { _ = report.Close() })
	defer stop()
	errs := make(chan error, 2)
	var work sync.WaitGroup
	work.Go(func() { defer cancel(); errs <- j.Listen(ctx, listener) })
	work.Go(func() { defer cancel(); errs <- report.ListenAndServe() })
	work.Go(func() {
		j.Probe(ctx, judge.HostLocal(func() []string { return networks(flags.Args()) }), testimony.PortWitness)
	})
	work.Wait()
	if err := errors.Join(<-errs, <-errs); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// networks returns the folders of host-local on the machines of the test cluster
// whose first process is named in files. A machine that is down has none.
func networks(files []string) []string {
	var dirs []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var process struct{ PID int }
		if err := json.Unmarshal(text, &process); err != nil {
			continue
		}
		found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/cni/networks/*", process.PID))
		dirs = append(dirs, found...)
	}
	return dirs
}
