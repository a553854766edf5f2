// SPDX-License-Identifier: Apache-2.0

// Command probe is what the tests of the cluster run in pods: a web server that says its name, and the clients that look for
// it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const timeout = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("run %q: want serve ADDRESS, get URL, lookup NAME or admit DIR", args)
	}
	switch args[0] {
	case "serve":
		return serve(args[1])
	case "get":
		return get(args[1])
	case "lookup":
		return lookup(args[1])
	case "admit":
		return admit(args[1])
	default:
		return fmt.Errorf("run %q: want serve, get, lookup or admit", args[0])
	}
}

// serve answers with the name of the pod and the address that the caller is seen by.
func serve(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the host name: %w", err)
	}
	server := &http.Server{Addr: address, ReadHeaderTimeout: timeout, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(os.Stdout, "called from %s\n", r.RemoteAddr)
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			fmt.Fprintf(w, "%s %s\n", name, host)
		})}
	return server.ListenAndServe()
}

// admit is an admission webhook that refuses everything. dir holds its certificate, tls.crt and tls.key.
func admit(dir string) error {
	server := &http.Server{Addr: ":8443", ReadHeaderTimeout: timeout, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			var review map[string]any
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&review); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			request, _ := review["request"].(map[string]any)
			_ = json.NewEncoder(w).Encode(map[string]any{
				"apiVersion": review["apiVersion"], "kind": review["kind"],
				"response": map[string]any{
					"uid": request["uid"], "allowed": false, "status": map[string]any{"message": "refused by the probe"},
				},
			})
		})}
	return server.ListenAndServeTLS(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
}

func get(url string) error {
	client := http.Client{Timeout: timeout}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func lookup(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		fmt.Println(address)
	}
	return nil
}
