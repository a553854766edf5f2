// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/shuntmesh/shunt/internal/contract"
)

// api is an API server's memory of one kind of object.
type api struct {
	mu       sync.Mutex
	objects  map[string]metav1.PartialObjectMetadata // by name
	watches  []*watch.FakeWatcher
	away     bool
	selector string
	calls    int
	gets     int
	most     int // gets at a time
	slow     time.Duration
}

func newAPI(objects ...metav1.PartialObjectMetadata) *api {
	a := &api{objects: map[string]metav1.PartialObjectMetadata{}}
	for _, o := range objects {
		a.objects[o.Name] = o
	}
	return a
}

func (a *api) call() error {
	a.calls++
	if a.away {
		return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	return nil
}

func (a *api) Get(ctx context.Context, name string, _ metav1.GetOptions, _ ...string) (*metav1.PartialObjectMetadata, error) {
	a.mu.Lock()
	a.gets++
	a.most = max(a.most, a.gets)
	slow := a.slow
	a.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gets--
	if err := errors.Join(ctx.Err(), a.call()); err != nil {
		return nil, err
	}
	o, known := a.objects[name]
	if !known {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	return &o, nil
}

func (a *api) List(_ context.Context, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.selector = o.FieldSelector
	list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for _, object := range a.objects {
		list.Items = append(list.Items, object)
	}
	return list, a.call()
}

func (a *api) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.call(); err != nil {
		return nil, err
	}
	w := watch.NewFakeWithChanSize(100, false)
	a.watches = append(a.watches, w)
	return w, nil
}

// set adds, changes or (with an object without UID) removes an object.
func (a *api) set(o metav1.PartialObjectMetadata) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, known := a.objects[o.Name]
	a.objects[o.Name] = o
	for _, w := range a.watches {
		switch {
		case o.UID == "":
			w.Delete(&old)
		case known:
			w.Modify(&o)
		default:
			w.Add(&o)
		}
	}
	if o.UID == "" {
		delete(a.objects, o.Name)
	}
}

// leave is the API server's end, and its return.
func (a *api) leave(away bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = away
	if away {
		for _, w := range a.watches {
			w.Stop()
		}
		a.watches = nil
	}
}

func (a *api) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func object(name, uid string, annotations map[string]string) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(uid), Annotations: annotations, ResourceVersion: "2"}}
}

func status(s string) map[string]string {
	return map[string]string{contract.AnnotationStatus: s, "other": strings.Repeat("x", 1000)}
}

func (a *api) clients() *Clients {
	return &Clients{Pods: a, PodsOf: func(string) Reader { return a }, DaemonSets: a}
}

func follower(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func names(p *Pods) map[string]string {
	all := map[string]string{}
	p.Each(func(pod Pod) { all[pod.UID] = pod.Name + " " + pod.Status })
	return all
}

func TestPodsByUID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(object("db-0", "1", status("first")), object("static", "mirror", map[string]string{
			corev1.MirrorPodAnnotationKey: "x", configHash: "0123456789abcdef0123456789abcdef", contract.AnnotationStatus: "s",
		}))
		p := NewPods("here", a.clients(), slog.New(slog.DiscardHandler))
		if p.Ready() == nil {
			t.Error("ready before the first list")
		}
		defer follower(t, p.Run)()
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		if want := "spec.nodeName=here,status.phase!=Succeeded,status.phase!=Failed"; a.selector != want {
			t.Errorf("selector %q, want %q", a.selector, want)
		}
		want := map[string]string{"1": "db-0 first", "0123456789abcdef0123456789abcdef": "static "}
		if got := names(p); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pods %v, want %v", got, want)
		}
		a.set(object("db-0", "", nil))
		a.set(object("db-0", "2", status("second")))
		synctest.Wait()
		want = map[string]string{"2": "db-0 second", "0123456789abcdef0123456789abcdef": "static "}
		if got := names(p); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pods %v, want %v", got, want)
		}
	})
}

// TestAPIServerAway for a minute: what is known stays known, little is asked, and
// what is new is known soon after.
func TestAPIServerAway(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(object("web", "1", status("s")))
			a.leave(!known)
			p := NewPods("here", a.clients(), slog.New(slog.DiscardHandler))
			defer follower(t, p.Run)()
			a.leave(true)
			before := a.count()
			time.Sleep(time.Minute)
			if got := len(names(p)); (got == 1) != known || (p.Ready() == nil) != known {
				t.Errorf("known before %v: %d pods, ready %v", known, got, p.Ready())
			}
			if calls := a.count() - before; calls > 60 || calls < 5 {
				t.Errorf("%d calls in a minute", calls)
			}
			a.set(object("new", "2", status("s")))
			a.leave(false)
			time.Sleep(maxPause * 3 / 2)
			synctest.Wait()
			if got := len(names(p)); got != 2 || p.Ready() != nil {
				t.Errorf("%d pods after its return, ready %v", got, p.Ready())
			}
		})
	}
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(object("web", "1", status("s")))
		p := NewPods("here", a.clients(), slog.New(slog.DiscardHandler))
		defer follower(t, p.Run)()
		ask := func(uid, name string) string {
			s, err := p.Status(t.Context(), uid, "shop", name)
			switch {
			case errors.Is(err, ErrNoPod):
				return "no pod"
			case err != nil:
				return err.Error()
			}
			return s
		}
		before := a.count()
		if got := ask("1", "web"); got != "s" || a.count() != before {
			t.Errorf("known pod: %s after %d calls", got, a.count()-before)
		}
		a.mu.Lock()
		a.objects["late"] = object("late", "2", status("l")) // the watch has not told yet
		a.mu.Unlock()
		for _, tt := range []struct{ uid, name, want string }{{"2", "late", "l"}, {"3", "late", "no pod"}, {"3", "gone", "no pod"}, {"", "late", "l"}, {"", "web", "s"}} {
			if got := ask(tt.uid, tt.name); got != tt.want {
				t.Errorf("%s of UID %q: %s, want %s", tt.name, tt.uid, got, tt.want)
			}
		}
		a.leave(true)
		if got := ask("2", "late"); !strings.Contains(got, "connection refused") {
			t.Errorf("API server away: %s", got)
		}
		if got := ask("1", "web"); got != "s" {
			t.Errorf("known pod, API server away: %s", got)
		}
	})
}

// TestLiveReadsAreBounded in number and in time.
func TestLiveReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI()
		a.slow = time.Second
		p := NewPods("here", a.clients(), slog.New(slog.DiscardHandler))
		began := time.Now()
		var asking sync.WaitGroup
		var mu sync.Mutex
		answered, late := 0, 0
		for i := range 20 {
			asking.Go(func() {
				_, err := p.Status(t.Context(), "1", "shop", fmt.Sprint(i))
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrNoPod) {
					answered++
				} else if errors.Is(err, context.DeadlineExceeded) {
					late++
				}
			})
		}
		asking.Wait()
		if a.most > maxLive || answered < 2*maxLive || answered+late != 20 || time.Since(began) > liveTimeout {
			t.Errorf("%d at a time, %d answered, %d too late, after %v", a.most, answered, late, time.Since(began))
		}
	})
}

func TestDaemonSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI()
		d := NewDaemonSet(a.clients(), slog.New(slog.DiscardHandler))
		defer follower(t, d.Run)()
		gone := func() string {
			is, err := d.Gone(t.Context(), time.Second)
			return fmt.Sprint(is, err != nil)
		}
		if d.Uninstall() != "" || gone() != "true false" {
			t.Errorf("no DaemonSet: wish %q, gone %s", d.Uninstall(), gone())
		}
		set := object(contract.NodeDaemonSet, "1", nil)
		a.set(set)
		synctest.Wait()
		if a.selector != "metadata.name=shunt-node" || d.Uninstall() != "" || gone() != "false false" {
			t.Errorf("selector %q, wish %q, gone %s", a.selector, d.Uninstall(), gone())
		}
		set.Annotations = map[string]string{contract.AnnotationUninstall: contract.UninstallRules}
		a.set(set)
		select {
		case <-d.Changed():
		case <-time.After(time.Second):
			t.Error("nobody is told")
		}
		synctest.Wait()
		if d.Uninstall() != contract.UninstallRules {
			t.Errorf("wish %q", d.Uninstall())
		}
		set.DeletionTimestamp = new(metav1.Now())
		a.set(set)
		if gone() != "true false" {
			t.Errorf("being deleted: gone %s", gone())
		}
		uid := set.UID
		set.UID = ""
		a.set(set)
		synctest.Wait()
		if d.Uninstall() != contract.UninstallRules || gone() != "true false" {
			t.Errorf("gone: wish %q, want the last word; gone %s", d.Uninstall(), gone())
		}
		set.UID, set.Annotations, set.DeletionTimestamp = uid, nil, nil
		a.set(set)
		synctest.Wait()
		if d.Uninstall() != "" {
			t.Errorf("there again: wish %q", d.Uninstall())
		}
		a.leave(true)
		if gone() != "false true" {
			t.Errorf("API server away: gone %s", gone())
		}
	})
}

// nodes are one Node.
type nodes struct{ patch string }

func (n *nodes) Get(_ context.Context, _ string, _ metav1.GetOptions) (*corev1.Node, error) {
	return &corev1.Node{Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{ContainerRuntimeVersion: "containerd://2.2.0"}}}, nil
}

func (n *nodes) Patch(_ context.Context, name string, pt types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*corev1.Node, error) {
	if name == "gone" {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	n.patch = string(pt) + " " + string(data)
	return nil, nil
}

func TestReport(t *testing.T) {
	n := &nodes{}
	want := contract.Node{Version: "1", Backend: "nftables", Plugin: `a "quoted" reason`}
	if err := Report(t.Context(), n, "here", want); err != nil {
		t.Fatal(err)
	}
	kind, text, _ := strings.Cut(n.patch, " ")
	var patch metav1.PartialObjectMetadata
	if err := json.Unmarshal([]byte(text), &patch); err != nil || kind != string(types.MergePatchType) {
		t.Fatalf("patch %s: %v", n.patch, err)
	}
	if got, err := contract.ParseNode(patch.Annotations[contract.AnnotationNode]); got != want || err != nil || len(patch.Annotations) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := Forget(t.Context(), n, "here"); err != nil || n.patch != string(types.MergePatchType)+` {"metadata":{"annotations":{"shunt.dev/node":null}}}` {
		t.Errorf("%s, %v", n.patch, err)
	}
	if err := Forget(t.Context(), n, "gone"); err != nil {
		t.Error(err)
	}
	if err := Report(t.Context(), n, "gone", want); !apierrors.IsNotFound(err) {
		t.Errorf("report on a Node that is gone: %v", err)
	}
}
