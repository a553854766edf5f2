// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/redirect/flags"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// at is so many seconds after the namespace was found.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func TestDecide(t *testing.T) {
	process := podns.Process{PID: 5, Started: 9, Net: "net:[7]"}
	right := record{process: process, found: start, checked: start}
	failed := func(times int) record {
		return record{process: process, found: start, failed: times, retry: start.Add(pause(times))}
	}
	tests := []struct {
		name  string
		r     record
		holds bool
		now   time.Time
		want  action
	}{
		{"no namespace yet", record{}, false, at(0), search},
		{"a namespace that nobody has looked into", record{process: process, found: start}, true, at(0), check},
		{"somebody is at it", record{process: process, busy: true}, true, at(0), leave},
		{"somebody is at it, and it has ended", record{process: process, busy: true}, false, at(0), leave},
		{"it can't be read", record{hopeless: errors.New("no JSON")}, false, at(0), leave},
		{"just found right", right, true, at(1), leave},
		{"found right a while ago, young", right, true, at(5), check},
		{"found right a while ago, old", record{process: process, found: start, checked: at(60)}, true, at(70), leave},
		{"found right long ago, old", record{process: process, found: start, checked: at(60)}, true, at(361), check},
		{"another sandbox", right, false, at(1), search},
		{"failed", failed(1), true, at(0.5), leave},
		{"failed, and time has passed", failed(1), true, at(1), check},
		{"failed often", failed(9), true, at(29), leave},
		{"failed often, and time has passed", failed(9), true, at(30), check},
		{"failed, and another sandbox", failed(9), false, at(1), search},
	}
	for _, tt := range tests {
		if got := decide(tt.r, tt.holds, tt.now); got != tt.want {
			t.Errorf("%s: action %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestSearchDue(t *testing.T) {
	for _, tt := range []struct {
		age, since time.Duration
		want       bool
	}{{0, 0, true}, {59 * time.Second, lookPeriod, true}, {time.Hour, lookPeriod, false}, {time.Hour, time.Second, true}} {
		if got := searchDue(record{seen: at(0).Add(-tt.age)}, at(0).Add(-tt.since), at(0)); got != tt.want {
			t.Errorf("pod of %v, searched %v ago: %v", tt.age, tt.since, got)
		}
	}
}

func TestPause(t *testing.T) {
	for times, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		if got := pause(times); got != want {
			t.Errorf("%d failures: %v, want %v", times, got, want)
		}
	}
}

// TestOrder has a node of running pods and one that is just starting.
func TestOrder(t *testing.T) {
	named := func(name string, age time.Duration, checked bool) *record {
		r := &record{pod: kube.Pod{Name: name, Created: start.Add(-age)}}
		if checked {
			r.checked = start
		}
		return r
	}
	queue := []*record{named("running", time.Hour, true), named("new", time.Second, true), named("unknown", time.Hour, false), named("starting", time.Second, false)}
	slices.SortFunc(queue, order)
	var got []string
	for _, r := range queue {
		got = append(got, r.pod.Name)
	}
	if want := "starting unknown new running"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

const status = `{"version":"0.1.0","interception":"cni","redirect":["-p","15001","-z","15006","-u","1337","-m","REDIRECT","-i","*","-b","*","-d","15090,15020"]}`

func TestMine(t *testing.T) {
	for text, want := range map[string]struct{ mine, bad bool }{
		"": {}, `{"interception":"init"}`: {}, `{"interception":"none"}`: {}, status: {mine: true},
		`{"interception":"later"}`: {mine: true, bad: true}, `x`: {mine: true, bad: true},
	} {
		if got, err := mine(kube.Pod{Status: text}); got != want.mine || (err != nil) != want.bad {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestRead(t *testing.T) {
	w, err := read(kube.Pod{Status: status})
	if err != nil || len(w.plan.Families) != 2 || w.backend != "" {
		t.Errorf("%+v, %v", w, err)
	}
	w, err = read(kube.Pod{Status: strings.Replace(status, `"-p"`, `"--backend","iptables","-p"`, 1)})
	if err != nil || w.backend != "iptables" {
		t.Errorf("backend %q, %v", w.backend, err)
	}
	for _, bad := range []string{`"--netns","/proc/1/ns/net","-p"`, `"x"`, `"-p","http","-p"`} {
		if _, err := read(kube.Pod{Status: strings.Replace(status, `"-p"`, bad, 1)}); err == nil || !strings.Contains(err.Error(), "shunt.dev/status") {
			t.Errorf("%s: %v, want a refusal that names the annotation", bad, err)
		}
	}
	if _, err := flags.Parse(nil); err != nil {
		t.Errorf("a pod without flags: %v", err)
	}
}
