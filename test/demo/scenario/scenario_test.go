// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"context"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; write anew with -update):\n%s", path, diff)
	}
}

func TestObjectsGolden(t *testing.T) {
	var out []byte
	for _, o := range []any{
		namespace(beforeNamespace, false), namespace(afterNamespace, true),
		serverDeployment("server", "demo:1", 3), serverDeployment("server-exit", "demo:1", 3, "--exit-at-once"),
		service("server"), clientPod("client", "demo:1", "server", 8, 3000),
	} {
		doc, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, "---\n"...), doc...)
	}
	golden(t, "objects.yaml", out)
}

func TestTableGolden(t *testing.T) {
	out := table("3 servers", tally.Counts{"server-a": 15000, "server-b": 0, "server-c": 5}, 0) +
		table("nothing yet", tally.Counts{}, 2) + plain(tally.Counts{"b": 2, "a": 1}, 0) + "\n"
	golden(t, "table.txt", []byte(out))
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true}
	s.begin("title", []string{"a"})
	s.last = time.Time{}
	s.line(tally.Line{Calls: map[string]int{"a": 1}})
	s.end(tally.Counts{"a": 2}, 0)
	if want := "\x1b[3A\x1b[J"; !strings.Contains(out.String(), want) {
		t.Errorf("the table is not drawn over: %q", out.String())
	}
	out.Reset()
	s = &screen{out: &out}
	s.begin("title", []string{"a"})
	s.last = time.Time{}
	s.line(tally.Line{Calls: map[string]int{"a": 1}})
	s.end(tally.Counts{"a": 2}, 0)
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("escapes where there is no terminal: %q", out.String())
	}
}

func TestGoals(t *testing.T) {
	good := result{
		beforeMaxShare: 1, afterMaxOverFair: []float64{1.01, 1.05, 1}, scaleUp: 3 * time.Second,
		memory: memory{rss: 19.96, private: 6.25}, total: 61 * time.Second, exitInFlight: 5,
	}
	var out bytes.Buffer
	printFigures(&out, good.figures())
	golden(t, "figures.txt", out.Bytes())
	if err := checkGoals(good.figures()); err != nil {
		t.Errorf("all goals are reached, and checkGoals says: %v", err)
	}
	for name, spoil := range map[string]func(*result){
		"demo.before.max_share":          func(r *result) { r.beforeMaxShare = 0.6 },
		"demo.after.max_over_fair":       func(r *result) { r.afterMaxOverFair[1] = 1.051 },
		"demo.scaleup_seconds":           func(r *result) { r.scaleUp = 3100 * time.Millisecond },
		"demo.failed_calls":              func(r *result) { r.failedCalls = 1 },
		"demo.exit_at_once.failed_other": func(r *result) { r.exitOther = 1 },
		"demo.proxy_rss_mib":             func(r *result) { r.memory.rss = 20.1 },
	} {
		bad := good
		bad.afterMaxOverFair = []float64{1, 1, 1}
		spoil(&bad)
		if err := checkGoals(bad.figures()); err == nil || !strings.Contains(err.Error(), name+" is ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s missed: error %v", name, err)
		}
	}
}

func TestParseMemory(t *testing.T) {
	tests := []struct {
		body string
		want memory
		err  bool
	}{
		{body: "# HELP x\nprocess_resident_memory_bytes 16777216\nshunt_proxy_memory_private_bytes 4194304\nprocess_resident_memory_anon_bytes 1\n", want: memory{16, 4}},
		{body: "process_resident_memory_bytes 1.6777216e+07\nprocess_resident_memory_anon_bytes 2097152\n", want: memory{16, 2}},
		{body: "process_resident_memory_bytes 16777216\n", err: true},
		{body: "", err: true},
	}
	for _, tt := range tests {
		got, err := parseMemory([]byte(tt.body))
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("parseMemory(%q) = %v, %v; want %v", tt.body, got, err, tt.want)
		}
	}
}

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte("process_resident_memory_bytes 1\nprocess_resident_memory_anon_bytes 1\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if m, err := parseMemory(body); err == nil && (m.rss == 0 || m.private == 0) {
			t.Errorf("parseMemory(%q) = %v without an error", body, m)
		}
	})
}

func TestReadyPods(t *testing.T) {
	endpoint := func(pod string, ready bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Name: pod}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
	}
	e := &endpoints{since: map[string]time.Time{}}
	first := time.Unix(100, 0)
	e.update([]*discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{endpoint("b", true), endpoint("c", false)}}}, first)
	e.update([]*discoveryv1.EndpointSlice{
		{Endpoints: []discoveryv1.Endpoint{endpoint("b", true), {}}},
		{Endpoints: []discoveryv1.Endpoint{endpoint("b", true), endpoint("a", true)}},
	}, first.Add(time.Second))
	if diff := cmp.Diff([]string{"a", "b"}, e.ready()); diff != "" {
		t.Errorf("ready (-want +got):\n%s", diff)
	}
	want := map[string]time.Time{"b": first, "a": first.Add(time.Second)}
	if diff := cmp.Diff(want, e.readySince()); diff != "" {
		t.Errorf("readySince (-want +got):\n%s", diff)
	}
}

func TestFeed(t *testing.T) {
	var seen []int
	f := newFeed(func(l tally.Line) { seen = append(seen, l.Seq) })
	end := time.Unix(100, 0)
	f.add(tally.Line{Seq: 1, End: end}, end.Add(300*time.Millisecond))
	f.add(tally.Line{Seq: 2, End: end}, end.Add(200*time.Millisecond))
	f.add(tally.Line{Seq: 1, End: end}, end.Add(time.Millisecond)) // the log was followed again
	if diff := cmp.Diff([]int{1, 2}, seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	got := f.clock(map[string]time.Time{"a": end})
	if want := end.Add(-200 * time.Millisecond); !got["a"].Equal(want) {
		t.Errorf("clock gives %v, want %v: the least lag earlier", got["a"], want)
	}
	lines, err := f.wait(t.Context(), 1, func(lines []tally.Line) bool { return len(lines) == 1 })
	if err != nil || lines[0].Seq != 2 {
		t.Errorf("wait from a mark = %v, %v", lines, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.wait(ctx, 0, func([]tally.Line) bool { return false }); err == nil {
		t.Error("wait does not end with its context")
	}
}

func TestWorstTimeToBalance(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	var lines []tally.Line
	for i := 1; i <= 30; i++ {
		calls := map[string]int{"old": 100}
		if i > 10 {
			calls["new"] = 100
		}
		lines = append(lines, tally.Line{Seq: i, End: at(i * 100), Calls: calls})
	}
	ready := map[string]time.Time{"old": at(0), "new": at(500)}
	got, all := worstTimeToBalance(lines, ready, []string{"old"}, []string{"new", "old"})
	if want := 900 * time.Millisecond; got != want || !all {
		t.Errorf("worst = %v, %v; want %v", got, all, want)
	}
	ready["silent"] = at(600)
	if got, all := worstTimeToBalance(lines, ready, []string{"old"}, []string{"new", "old", "silent"}); all || got != balanceLimit {
		t.Errorf("with a server without calls: %v, %v", got, all)
	}
}

func TestRemoveRefusesANamespaceOfOthers(t *testing.T) {
	kube := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: afterNamespace}})
	err := cluster{kube: kube, ns: afterNamespace}.remove(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not the demo's") {
		t.Errorf("error = %v, want a refusal", err)
	}
}

func TestImageError(t *testing.T) {
	p := corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Image: "shunt.dev/demo:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such host"}},
	}}}}
	if err := imageError(p); err == nil || !strings.Contains(err.Error(), "node n1 can't get image shunt.dev/demo:1") {
		t.Errorf("imageError = %v", err)
	}
	if err := imageError(corev1.Pod{}); err != nil {
		t.Errorf("imageError of a pod that waits for nothing = %v", err)
	}
}
