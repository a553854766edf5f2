// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/shuntmesh/shunt/cni/conf"
)

// agent stands for the node agent: it answers at a socket as it is told, and
// keeps what it is asked and the log lines that it is sent.
type agent struct {
	socket string

	mu      sync.Mutex
	answers []string // to GET /v1/pod, one each and then the last: a status, or a body with status 200
	asked   []string
	lines   []string
}

func newAgent(t *testing.T, answers ...string) *agent {
	t.Helper()
	a := &agent{socket: filepath.Join(t.TempDir(), "agent.sock"), answers: answers}
	listener, err := net.Listen("unix", a.socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/pod", a.pod)
	mux.HandleFunc("POST /v1/log", a.log)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: mux}}
	server.Start()
	t.Cleanup(server.Close)
	return a
}

func (a *agent) pod(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	a.asked = append(a.asked, q.Get("namespace")+"/"+q.Get("name")+" "+q.Get("uid"))
	answer := a.answers[0]
	if len(a.answers) > 1 {
		a.answers = a.answers[1:]
	}
	switch answer {
	case "404":
		w.WriteHeader(http.StatusNotFound)
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, answer)
	}
}

func (a *agent) log(_ http.ResponseWriter, r *http.Request) {
	line, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines = append(a.lines, string(line))
}

// withEntry changes keys of an example of stdin.
func withEntry(t *testing.T, example string, change func(c map[string]any)) string {
	t.Helper()
	var c map[string]any
	if err := json.Unmarshal([]byte(stdinOf(t, example)), &c); err != nil {
		t.Fatal(err)
	}
	change(c)
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// annotationsIn returns the agent's answer with the annotations of an example.
func annotationsIn(t *testing.T, example string) string {
	t.Helper()
	var in struct {
		RuntimeConfig map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(stdinOf(t, example)), &in); err != nil {
		t.Fatal(err)
	}
	return `{"annotations":` + string(in.RuntimeConfig[conf.PodAnnotations]) + `}`
}

// TestRuntimeHandsOverNothing asks the agent, and passes no pod that it can't
// tell about, except those that are never injected.
func TestRuntimeHandsOverNothing(t *testing.T) {
	injected, other := annotationsIn(t, "injected-1.0.0"), annotationsIn(t, "not-injected")
	large := `{"annotations":{"notes":"` + strings.Repeat("n", 200<<10) + `",` + strings.TrimPrefix(injected, `{"annotations":{`)
	tests := []struct {
		name    string
		answers []string // none: there is no agent
		args    string
		code    uint
		want    string
		calls   string
	}{
		{"injected", []string{injected}, podArgs, 0, "", "nftables apply"},
		{"injected, with a long annotation", []string{large}, podArgs, 0, "", "nftables apply"},
		{"not injected", []string{other}, podArgs, 0, "", ""},
		{"without annotations", []string{`{"annotations":{}}`}, podArgs, 0, "", ""},
		{"the agent has just started", []string{"503", "503", injected}, podArgs, 0, "", "nftables apply"},
		{"the agent has not heard of the pod yet", []string{"404", injected}, podArgs, 0, "", "nftables apply"},
		{"the agent never hears of the pod", []string{"404"}, podArgs, types.ErrTryAgainLater, "it knows no such pod", ""},
		{"the agent never comes up", []string{"503"}, podArgs, types.ErrTryAgainLater, "status 503", ""},
		{"the agent answers nonsense", []string{"yes"}, podArgs, types.ErrTryAgainLater, "read its answer", ""},
		{"the agent answers without annotations", []string{"{}"}, podArgs, types.ErrTryAgainLater, "annotations are missing", ""},
		{"no agent", nil, podArgs, types.ErrTryAgainLater, "DaemonSet shunt-system/shunt-node", ""},
		{"no agent, of kube-system", nil, strings.Replace(podArgs, "=shop", "=kube-system", 1), 0, "", ""},
		{"no agent, of the mesh itself", nil, strings.Replace(podArgs, "=shop", "=shunt-system", 1), 0, "", ""},
		{"no agent, and no pod", nil, "IgnoreUnknown=1", 0, "", ""},
		{"no agent, and half a pod", nil, "K8S_POD_NAMESPACE=shop", types.ErrInvalidEnvironmentVariables, "CNI_ARGS", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &agent{socket: "/nonexistent/agent.sock"}
			if tt.answers != nil {
				a = newAgent(t, tt.answers...)
			}
			stdin := withEntry(t, "handed-over-nothing", func(c map[string]any) { c["socket"] = a.socket })
			begin := time.Now()
			got := invocation{verb: "ADD", stdin: stdin, env: map[string]string{"CNI_ARGS": tt.args}}.run(t)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if e := errorOf(t, got.stdout); e.Code != tt.code || tt.code != 0 && !strings.Contains(e.Error(), tt.want) {
				t.Errorf("exit code %d, %d %q; want %d %q", got.code, e.Code, e.Error(), tt.code, tt.want)
			}
			if got.calls != tt.calls {
				t.Errorf("asked of backends: %q, want %q", got.calls, tt.calls)
			}
			if tt.answers != nil && (len(a.asked) == 0 || a.asked[0] != "shop/web-0 0c5a") {
				t.Errorf("the agent was asked of %q, want the pod by namespace, name and uid", a.asked)
			}
		})
	}
}

// TestAgentIsNotAsked where the runtime hands over annotations, even by an agent
// that would answer otherwise.
func TestAgentIsNotAsked(t *testing.T) {
	a := newAgent(t, annotationsIn(t, "not-injected"))
	stdin := withEntry(t, "injected-1.0.0", func(c map[string]any) { c["socket"] = a.socket })
	if got := (invocation{verb: "ADD", stdin: stdin}).run(t); got.code != 0 || got.calls != "nftables apply" || len(a.asked) > 0 {
		t.Errorf("exit code %d, backends %q, agent %q; want the pod captured by its own annotations", got.code, got.calls, a.asked)
	}
}

// logged runs an ADD, and returns what the agent was told of it and what the log
// file holds.
func logged(t *testing.T, a *agent, example, socket, fake string) (lines []string, written []byte, err error) {
	t.Helper()
	a.mu.Lock()
	a.lines = nil
	a.mu.Unlock()
	file := filepath.Join(t.TempDir(), "cni.log")
	stdin := withEntry(t, example, func(c map[string]any) { c["socket"], c["log"] = socket, file })
	invocation{verb: "ADD", stdin: stdin, env: map[string]string{fakeEnv: fake}}.run(t)
	written, err = os.ReadFile(file)
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.lines), written, err
}

// TestLogGoesToTheAgent and to the file alone while it doesn't take it.
func TestLogGoesToTheAgent(t *testing.T) {
	deaf, err := net.Listen("unix", filepath.Join(t.TempDir(), "deaf.sock")) // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	live := newAgent(t, "503")
	for name, tt := range map[string]struct {
		example, socket string
		fake            string
		told, written   bool
		want            []string
	}{
		"captured":             {"injected-1.0.0", live.socket, "", true, false, []string{`"level":"INFO"`, `"pod is captured by nftables"`, `"namespace":"shop"`, `"pod":"web-0"`, `"uid":"0c5a"`, `"container":"c1"`, `"verb":"ADD"`}},
		"refused":              {"injected-1.0.0", live.socket, "broken", true, false, []string{`"level":"ERROR"`, "operation not permitted"}},
		"not injected":         {"not-injected", live.socket, "", false, false, nil},
		"captured, no agent":   {"injected-1.0.0", "/nonexistent/agent.sock", "", false, true, []string{`"pod is captured by nftables"`}},
		"captured, deaf agent": {"injected-1.0.0", deaf.Addr().String(), "", false, true, []string{`"pod is captured by nftables"`}},
		"unreadable, no agent": {"status-broken", "/nonexistent/agent.sock", "", false, true, []string{`"level":"ERROR"`, "shunt.dev/status"}},
	} {
		t.Run(name, func(t *testing.T) {
			lines, written, err := logged(t, live, tt.example, tt.socket, tt.fake)
			for range 20 { // an agent that takes more than tellTimeout, on a busy machine, has its line in the file as well
				if !tt.told || err != nil && len(lines) == 1 {
					break
				}
				lines, written, err = logged(t, live, tt.example, tt.socket, tt.fake)
			}
			if tt.written != (err == nil) {
				t.Errorf("log file: %v, want one: %v", err, tt.written)
			}
			if tt.told != (len(lines) == 1) {
				t.Errorf("the agent was told %q, want a line: %v", lines, tt.told)
			}
			log := strings.Join(lines, "") + string(written)
			for _, want := range tt.want {
				if !strings.Contains(log, want) {
					t.Errorf("log: %s, want %s", log, want)
				}
			}
			if log != "" && (!json.Valid([]byte(log)) || strings.Count(log, "\n") != 1) {
				t.Errorf("log: %q, want one line of JSON", log)
			}
		})
	}
}
