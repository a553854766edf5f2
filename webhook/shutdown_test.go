// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/webhook"
)

// Reviews that the API server sends before it has heard of the end are
// answered, while /ready already says no.
func TestReviewsAreTakenWhileLingering(t *testing.T) {
	r := run(t)
	stopped := make(chan error, 1)
	start := time.Now()
	go func() { stopped <- r.stop() }()
	for { // the end has begun
		if status, text := r.control(t, "/ready"); status == http.StatusServiceUnavailable && strings.Contains(text, "shutting down") {
			break
		}
		if time.Since(start) > linger {
			t.Fatal("still ready")
		}
	}
	var conns []net.Conn
	trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { conns = append(conns, c.Conn) }}
	for range 2 {
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPost,
			"https://"+r.Addr().String()+webhook.Path, bytes.NewReader(review(t, simplePod, nil)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("review while lingering: %s, %v", resp.Status, err)
		}
		resp.Body.Close()
		time.Sleep(20 * time.Millisecond) // GOAWAY is on its way
	}
	if len(conns) != 2 || conns[0] == conns[1] {
		t.Errorf("%d reviews on one connection while lingering: the API server would not move on", len(conns))
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(start); took < linger {
		t.Errorf("ended after %v, want %v at least", took, linger)
	}
}

// All of a Deployment's pods come at once, on one connection. Those that wait
// for their turn must not keep those that have it from being read.
func TestManyLargeReviewsOnOneConnection(t *testing.T) {
	r := run(t)
	inlined := strings.Replace(simplePod, `"creationTimestamp":null`, `"annotations":{"file":"`+strings.Repeat("x", 80<<10)+`"}`, 1)
	body := review(t, inlined, nil)
	r.client.Timeout = 30 * time.Second // a stand-still ends by the server's timeout, with a status
	r.post(t, "application/json", bytes.NewReader(body))
	var posts sync.WaitGroup
	for range 80 {
		posts.Go(func() {
			resp, err := r.client.Post("https://"+r.Addr().String()+webhook.NamespacePath, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s, %v", resp.Status, text, err)
			}
		})
	}
	posts.Wait()
}

// A review under way when the shutdown begins still gets its answer.
func TestShutdownLetsReviewsEnd(t *testing.T) {
	r := run(t)
	read, write := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.Addr().String()+webhook.Path, read)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Expect", "100-continue") // the first byte is sent when the handler reads
	answered := make(chan string, 1)
	go func() {
		resp, err := r.client.Do(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		answered <- resp.Status
	}()
	body := review(t, simplePod, nil)
	if _, err := write.Write(body[:10]); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	time.Sleep(linger + 50*time.Millisecond) // the shutdown is under way, with or without this
	if _, err := write.Write(body[10:]); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if got := <-answered; got != "200 OK" {
		t.Errorf("review at shutdown: %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	r := run(t)
	_, err := webhook.NewServer(webhook.Options{Listen: r.Addr().String(), ControlListen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "listen for reviews") {
		t.Errorf("error %v", err)
	}
}
