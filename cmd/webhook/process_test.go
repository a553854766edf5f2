// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/shuntmesh/shunt/webhook"
)

const (
	mib = 1 << 20

	maxBinary = 25 * mib
	maxRSS    = 25 * mib
	maxWorst  = 160 * mib // the limit in manifests/base/webhook.yaml
)

// process is a webhook as it is shipped, at work on a fakeAPI.
type process struct {
	*testing.T
	cmd             *exec.Cmd
	log             *bytes.Buffer
	listen, control string
	binary          string
	ended           chan error
}

func start(t *testing.T, api *fakeAPI) *process {
	t.Helper()
	p := &process{T: t, log: new(bytes.Buffer), binary: filepath.Join(t.TempDir(), "webhook"), listen: freeAddr(t), control: freeAddr(t), ended: make(chan error, 1)}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", p.binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	p.cmd = exec.Command(p.binary, "--kubeconfig", api.kubeconfig(t), "--listen", p.listen, "--control-listen", p.control, "--linger", "100ms")
	p.cmd.Env = append(os.Environ(), "GOMEMLIMIT=120MiB") // as in the manifest
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }() // received by stop
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + p.control + "/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p
			}
		}
		if time.Now().After(end) {
			_ = p.cmd.Process.Kill()
			<-p.ended
			t.Fatalf("not ready after 20 s:\n%s", p.log)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// stop ends the process as the kubelet does.
func (p *process) stop() {
	p.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	if err := <-p.ended; err != nil {
		p.Errorf("exit: %v\n%s", err, p.log)
	}
}

// memory is a value of the process's status, in bytes: VmRSS is the resident
// memory, VmHWM the most that it ever was.
func (p *process) memory(key string) int {
	p.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), key+":")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.Fatalf("read %s: %v\n%s", key, err, status)
	}
	return kib << 10
}

// client is an API server's: it trusts the registration's caBundle.
func (p *process) client(api *fakeAPI) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(api.registration().Webhooks[0].ClientConfig.CABundle)
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "shunt-webhook.shunt-system.svc"},
	}
	p.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 30 * time.Second, Transport: transport}
}

const owned = `"metadata":{"generateName":"web-","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","uid":"2","controller":true}]}`

// review sends n reviews, 16 at a time as the API server would, over all
// namespaces in turn.
func (p *process) review(client *http.Client, n int, pod string) {
	var senders sync.WaitGroup
	for sender := range 16 {
		senders.Go(func() {
			for i := sender; i < n; i += 16 {
				p.reviewOne(client, fmt.Sprintf("namespace-%04d", i%1000), pod)
			}
		})
	}
	senders.Wait()
}

// flood sends 8 reviews of a pod at once. What waits too long for its turn is
// cut off, so nothing is said of the answers.
func (p *process) flood(client *http.Client, pod string) {
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			if resp, err := p.post(client, "namespace-0000", pod); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	senders.Wait()
}

func (p *process) reviewOne(client *http.Client, namespace, pod string) {
	resp, err := p.post(client, namespace, pod)
	if err != nil {
		p.Error(err)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(answer, []byte(`"patchType":"JSONPatch"`)) {
		p.Errorf("answer %s, %v", answer, err)
	}
}

func (p *process) post(client *http.Client, namespace, pod string) (*http.Response, error) {
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "u", Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Namespace: namespace,
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(pod)},
		},
	})
	if err != nil {
		return nil, err
	}
	return client.Post("https://"+p.listen+webhook.NamespacePath, "application/json", bytes.NewReader(body))
}

// TestProcess measures what is shipped: its size, and its memory at 1,000
// namespaces after as many reviews with an Event each.
func TestProcess(t *testing.T) {
	api := newFakeAPI(t, 1000)
	p := start(t, api)
	before := api.calls("GET /api/v1/namespaces")
	client := p.client(api)
	const pod = `{` + owned + `,"spec":{"containers":[{"name":"app","image":"app:1"}]}}`
	p.review(client, 2000, pod)
	// The cache is warm: the server talks to nobody in order to answer.
	if got := api.calls("GET /api/v1/namespaces") - before; got != 0 {
		t.Errorf("%d reads of namespaces for 2000 reviews, want none", got)
	}
	rss := p.memory("VmRSS")
	// The worst that somebody can do who may create pods.
	p.flood(client, `{"spec":{"containers":[`+strings.Repeat(`{"name":"c","image":"i","env":[{"name":"N","value":"1"}]},`, 70_000)+`{"name":"z"}]}}`)
	worst := p.memory("VmHWM")
	p.reviewOne(client, "namespace-0000", pod) // it goes on
	p.stop()
	if api.calls("POST /api/v1/namespaces/{namespace}/events") == 0 {
		t.Error("no Event was written")
	}
	info, err := os.Stat(p.binary)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stdout, "FIGURE webhook.binary_mib %.1f MiB\n", float64(info.Size())/mib)
	fmt.Fprintf(os.Stdout, "FIGURE webhook.rss_mib %.1f MiB\n", float64(rss)/mib)
	if info.Size() > maxBinary {
		t.Errorf("the binary has %d bytes, at most %d are wanted", info.Size(), maxBinary)
	}
	fmt.Fprintf(os.Stdout, "FIGURE webhook.worst_rss_mib %.1f MiB\n", float64(worst)/mib)
	if worst > maxWorst {
		t.Errorf("%d bytes were resident at worst, and the container has %d", worst, maxWorst)
	}
	if rss > maxRSS {
		t.Errorf("%d bytes are resident, at most %d are wanted", rss, maxRSS)
	}
}
