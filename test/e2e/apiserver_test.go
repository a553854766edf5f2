// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// apiServer is a client of the API server for what kubectl is too slow for: it
// starts a process for each call.
type apiServer struct {
	url    string
	client *http.Client
}

func connect(t *testing.T) *apiServer {
	t.Helper()
	config := decode[struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
				Key         []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}](t, kubectl(t, "config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		t.Fatal("the kubeconfig has no current context")
	}
	cluster, user := config.Clusters[0].Cluster, config.Users[0].User
	pair, err := tls.X509KeyPair(user.Certificate, user.Key)
	if err != nil {
		t.Fatalf("read client certificate of the kubeconfig: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cluster.CA)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)
	return &apiServer{url: cluster.Server, client: &http.Client{Timeout: 20 * time.Second, Transport: transport}}
}

// reply is what the API server said: its body, and the warnings beside it.
type reply struct {
	status   int
	body     []byte
	warnings []string
}

func (a *apiServer) do(method, path string, body any) (reply, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return reply{}, err
		}
	}
	req, err := http.NewRequest(method, a.url+path, bytes.NewReader(text))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: resp.StatusCode, body: answer, warnings: resp.Header.Values("Warning")}
	if r.status >= http.StatusBadRequest {
		return r, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return r, nil
}
