// SPDX-License-Identifier: Apache-2.0

// Package socket is where the CNI plugin reaches its agent: HTTP/1.1 over a unix
// socket that only root may open.
//
//	POST /v1/log   lines of slog's JSON; they become lines of the agent's log
//	GET  /v1/pod?uid=...&namespace=...&name=...
//	               {"annotations":{...}}: what the pod says about capture;
//	               404 where there is no such pod, 503 where that can't be known
//
// The plugin asks for a pod only where the runtime doesn't tell it.
package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/internal/contract"
)

const (
	// maxConnections bounds the plugins that are served at a time; the kubelet
	// starts a few pods at a time, and each of them logs.
	maxConnections = 64

	maxBody = 64 << 10 // bytes of one request
	maxName = 253      // bytes of a parameter: a namespace, a name, a UID

	shutdownTimeout = 2 * time.Second
)

// Options is what a Server is made of. All fields are needed.
type Options struct {
	Path string // of the socket, in a folder that exists
	// Status returns the annotation shunt.dev/status of a pod. The error wraps
	// kube.ErrNoPod where there is no such pod.
	Status func(ctx context.Context, uid, namespace, name string) (string, error)
	// Asked is called for each plugin that asks for a pod. It must not block.
	Asked   func()
	Metrics *Metrics
	Log     *slog.Logger
}

// Server answers plugins.
type Server struct {
	options  Options
	listener net.Listener
	file     os.FileInfo // the socket's
}

// Listen opens the socket; Run serves and closes it. Whatever is at the path is
// replaced in one step: what an agent left that was killed, or what one serves
// that is about to go.
func Listen(o Options) (*Server, error) {
	ln, err := listen(o.Path)
	if err != nil {
		return nil, fmt.Errorf("listen for the plugin: %w", err)
	}
	file, err := os.Lstat(o.Path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the plugin: %w", err), ln.Close())
	}
	return &Server{options: o, listener: netutil.LimitListener(ln, maxConnections), file: file}, nil
}

func listen(path string) (*net.UnixListener, error) {
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: aside, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // its name changes
	err = os.Chmod(aside, 0o600)
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// Run serves until ctx ends, and returns when all is closed.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/log", s.log)
	mux.HandleFunc("GET /v1/pod", s.pod)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       5 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(s.listener) }() // received below
	var err error
	select {
	case err = <-serving:
	case <-ctx.Done():
		err = s.shutdown(context.WithoutCancel(ctx), server)
		_ = <-serving // http.ErrServerClosed
	}
	s.unlink()
	if err != nil {
		return fmt.Errorf("serve the plugin: %w", err)
	}
	return nil
}

func (s *Server) shutdown(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.options.Log.Warn("plugins were cut off at shutdown", "err", err)
		return server.Close()
	}
	return nil
}

// unlink removes the socket unless another agent has put its own there.
func (s *Server) unlink() {
	now, err := os.Lstat(s.options.Path)
	if err == nil && os.SameFile(now, s.file) {
		err = os.Remove(s.options.Path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.options.Log.Warn("remove socket", "err", err)
	}
}

// answer is what the plugin gets.
type answer struct {
	Annotations map[string]string `json:"annotations"`
}

func (s *Server) pod(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	uid, namespace, name := q.Get("uid"), q.Get("namespace"), q.Get("name")
	if namespace == "" || name == "" || max(len(uid), len(namespace), len(name)) > maxName {
		s.options.Metrics.answers.WithLabelValues(answerRefused).Inc()
		http.Error(w, "namespace and name are needed, and uid is wanted (the runtime gives them in CNI_ARGS)", http.StatusBadRequest)
		return
	}
	s.options.Asked()
	status, err := s.options.Status(r.Context(), uid, namespace, name)
	switch {
	case errors.Is(err, kube.ErrNoPod):
		s.options.Metrics.answers.WithLabelValues(answerNone).Inc()
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		s.options.Metrics.answers.WithLabelValues(answerUnknown).Inc()
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s.options.Metrics.answers.WithLabelValues(answerFound).Inc()
	a := answer{Annotations: map[string]string{}}
	if status != "" {
		a.Annotations[contract.AnnotationStatus] = status
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the plugin is gone
}
