// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
)

// teller writes down what is asked of it.
type teller struct {
	log   *[]string
	name  string
	err   error
	holds bool
	deaf  error // of plans that ask who listens
}

func (b teller) tell(verb string) error {
	*b.log = append(*b.log, b.name+" "+verb)
	return b.err
}

func (b teller) hear(p redirect.Plan) error {
	if b.deaf != nil && strings.Contains(p.String(), " listened ->") {
		return b.deaf
	}
	return nil
}

func (b teller) Apply(_ context.Context, p redirect.Plan) (bool, error) {
	return true, errors.Join(b.tell("apply"), b.hear(p))
}

func (b teller) Check(_ context.Context, p redirect.Plan) error {
	return errors.Join(b.tell("check"), b.hear(p))
}

func (b teller) Remove(context.Context) error        { return b.tell("remove") }
func (b teller) Holds(context.Context) (bool, error) { return b.holds, nil }

// TestBackendIsChosen asks in order, and leaves the rules of one alone.
func TestBackendIsChosen(t *testing.T) {
	lacks := fmt.Errorf("no such thing: %w", errors.ErrUnsupported)
	broken := errors.New("broken")
	different := &redirect.Difference{Where: "rule", Want: "listened", Got: "another"}
	tests := []struct {
		name             string
		first, second    teller
		args             []string
		want             string
		code             int
		stdout, inStderr string
	}{
		{"the first works", teller{}, teller{}, article("apply"), "one apply", 0, "applied by one", ""},
		{"the first works, the second holds", teller{}, teller{holds: true}, article("apply"), "one apply,two remove,one apply", 0, "applied by one", ""},
		{"the first works, the second holds what it can't see", teller{}, teller{holds: true, err: lacks}, article("apply"), "one apply,two remove", 0, "applied by one", "rules of two may be left: no such thing"},
		{"the first lacks something", teller{err: lacks}, teller{}, article("apply"), "one apply,one apply,two apply", 0, "applied by two", ""},
		{"both lack something", teller{err: lacks}, teller{err: lacks}, article("apply"), "one apply,one apply,two apply,two apply", 3, "", "two: no such thing"},
		{"the first is deaf", teller{deaf: lacks}, teller{}, article("apply"), "one apply,one apply", 0, "applied by one", "ports on which nobody listens are captured too: one: no such thing"},
		{"the first is deaf and must not be", teller{deaf: lacks}, teller{}, article("apply", "--closed-ports", "refuse"), "one apply,two apply", 0, "applied by two", ""},
		{"the first is deaf and may be", teller{deaf: lacks}, teller{}, article("apply", "--closed-ports", "capture"), "one apply", 0, "applied by one", ""},
		{"all are deaf and must not be", teller{deaf: lacks}, teller{deaf: lacks}, article("apply", "--closed-ports", "refuse"), "one apply,two apply", 3, "", "one: no such thing"},
		{"check what the deaf applied", teller{deaf: different}, teller{}, article("check"), "one check,one check", 0, "as planned; ports on which nobody listens are captured too", ""},
		{"check for more than the deaf applied", teller{deaf: different}, teller{}, article("check", "--closed-ports", "refuse"), "one check", 1, "", "want listened"},
		{"the first breaks", teller{err: broken}, teller{}, article("apply"), "one apply", 3, "", "one: broken"},
		{"by name", teller{holds: true}, teller{}, article("apply", "--backend", "two"), "two apply,one remove,two apply", 0, "applied by two", ""},
		{"a part of it by name", teller{}, teller{holds: true}, article("apply", "--backend", "two-half"), "half apply", 0, "applied by two-half", ""},
		{"check where nothing is", teller{}, teller{}, article("check"), "one check", 0, "as planned", ""},
		{"check where the second holds", teller{}, teller{holds: true}, article("check"), "two check", 0, "as planned", ""},
		{"check where the first can't", teller{err: lacks}, teller{}, article("check"), "one check,two check", 0, "as planned", ""},
		{"remove", teller{}, teller{}, []string{"remove"}, "one remove,two remove", 0, "removed", ""},
		{"remove where one can't", teller{}, teller{err: lacks}, []string{"remove"}, "one remove,two remove", 0, "removed", ""},
		{"remove where one can't and holds", teller{}, teller{err: lacks, holds: true}, []string{"remove"}, "one remove,two remove", 0, "removed", "rules of two may be left"},
		{"remove where none can", teller{err: lacks}, teller{err: lacks}, []string{"remove"}, "one remove,two remove", 3, "", "no such thing"},
		{"remove where one breaks", teller{err: broken}, teller{}, []string{"remove"}, "one remove", 3, "", "broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log []string
			tt.first.log, tt.first.name = &log, "one"
			tt.second.log, tt.second.name = &log, "two"
			all := []backends.Backend{
				{Backend: tt.first, Name: "one"},
				{Backend: tt.second, Name: "two"},
				{Backend: teller{log: &log, name: "half"}, Name: "two-half", Forced: true},
			}
			code, out, errOut := runWith(t, all, nil, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.stdout) || !strings.Contains(errOut, tt.inStderr) {
				t.Errorf("exit code %d, %q, %q; want %d, %q, %q", code, out, errOut, tt.code, tt.stdout, tt.inStderr)
			}
			if got := strings.Join(log, ","); got != tt.want {
				t.Errorf("asked: %s, want %s", got, tt.want)
			}
		})
	}
}

func TestExplainText(t *testing.T) {
	tests := []struct {
		args string
		want string
	}{
		{"tcp 10.0.0.5:443 --uid 1000", `DIRECTION  DESTINATION       VERDICT           RULE             WHY
outbound   tcp 10.0.0.5:443  capture at 15001  ipv4 outbound 9  everything else that leaves
inbound    tcp 10.0.0.5:443  capture at 15006  ipv4 inbound 5   everything else that arrives
`},
		{"--uid 1337 tcp --direction outbound :443", `DIRECTION  DESTINATION      VERDICT  RULE             WHY
outbound   tcp 0.0.0.0:443  pass     ipv4 outbound 6  the proxy's own connections
outbound   tcp [::]:443     pass     ipv6 outbound 6  the proxy's own connections
`},
		{"tcp [::ffff:10.0.0.2]:80 --uid 1337 --interface lo --direction outbound", `DIRECTION  DESTINATION      VERDICT           RULE             WHY
outbound   tcp 10.0.0.2:80  capture at 15006  ipv4 outbound 3  the pod calls itself through the proxy
`},
		{"tcp [::1]:80 --direction outbound --gid 7", `DIRECTION  DESTINATION   VERDICT  RULE             WHY
outbound   tcp [::1]:80  pass     ipv6 outbound 5  application to application inside the pod
`},
		{"tcp 10.0.0.5:80 --exclude-inbound-cidrs 10.1.0.0/16 --from 10.1.0.1 --direction inbound", `DIRECTION  DESTINATION      VERDICT  RULE            WHY
inbound    tcp 10.0.0.5:80  pass     ipv4 inbound 5  excluded inbound CIDRs
`},
		{"tcp 10.0.0.5:80 --closed", `DIRECTION  DESTINATION      VERDICT           RULE             WHY
outbound   tcp 10.0.0.5:80  capture at 15001  ipv4 outbound 9  everything else that leaves
inbound    tcp 10.0.0.5:80  pass              none             nobody listens there, and the kernel refuses
`},
		{"tcp 10.0.0.5:80 --closed --closed-ports capture --direction inbound", `DIRECTION  DESTINATION      VERDICT           RULE            WHY
inbound    tcp 10.0.0.5:80  capture at 15006  ipv4 inbound 5  everything else that arrives
`},
		{"udp 10.0.0.5:53", `DIRECTION  DESTINATION      VERDICT  RULE  WHY
outbound   udp 10.0.0.5:53  pass     none  only TCP is steered
inbound    udp 10.0.0.5:53  pass     none  only TCP is steered
`},
	}
	for _, tt := range tests {
		code, out, errOut := run(t, nil, append([]string{"explain"}, strings.Fields(tt.args)...)...)
		if code != cli.ExitOK {
			t.Errorf("explain %s: exit code %d, %s", tt.args, code, errOut)
		}
		if diff := cmp.Diff(tt.want, out); diff != "" {
			t.Errorf("explain %s (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	_, out, errOut := run(t, nil, "explain", "tcp", "10.0.0.5:443", "--uid", "1337", "--direction", "outbound", "-o", "json")
	var answers []map[string]any
	if err := json.Unmarshal([]byte(out), &answers); err != nil || len(answers) != 1 {
		t.Fatalf("%s%s: %v", out, errOut, err)
	}
	want := map[string]any{
		"protocol": "tcp", "destination": "10.0.0.5:443", "family": "ipv4", "direction": "outbound", "action": "pass", "rule": 6.0,
		"why":   "the proxy's own connections",
		"match": map[string]any{"match": map[string]any{"uid": 1337.0}, "action": "pass", "why": "the proxy's own connections"},
	}
	if diff := cmp.Diff(want, answers[0]); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestCheckInFormats(t *testing.T) {
	different := &redirect.Difference{Where: "ipv4 inbound rule 2", Want: "this", Got: "that"}
	for format, want := range map[string]string{
		"json": "{\n  \"asPlanned\": false,\n  \"difference\": {\n    \"where\": \"ipv4 inbound rule 2\",\n    \"want\": \"this\",\n    \"got\": \"that\"\n  }\n}\n",
		"yaml": "asPlanned: false\ndifference:\n  got: that\n  want: this\n  where: ipv4 inbound rule 2\n",
	} {
		code, out, errOut := run(t, &fake{err: different}, article("check", "-o", format)...)
		if code != cli.ExitDifferent || out != want || errOut != "" {
			t.Errorf("check -o %s: exit code %d, %q, %q; want %q", format, code, out, errOut, want)
		}
	}
	if code, out, _ := run(t, teller{log: new([]string), deaf: different}, article("check", "-o", "yaml")...); code != cli.ExitOK || out != "asPlanned: true\ncapturesClosed: true\n" {
		t.Errorf("check -o yaml of what the deaf applied: exit code %d, %q", code, out)
	}
	if code, out, _ := run(t, &fake{}, article("check", "-o", "yaml")...); code != cli.ExitOK || out != "asPlanned: true\n" {
		t.Errorf("check -o yaml as planned: exit code %d, %q", code, out)
	}
}

// FuzzExplain feeds the arguments of explain: no input may panic, and what is
// accepted is answered.
func FuzzExplain(f *testing.F) {
	f.Add("tcp\n10.0.0.5:443\n--uid\n1000")
	f.Add("udp\n[::ffff:10.0.0.5]:53\n--from=fd00::1\n--interface\nlo\n-o=json")
	f.Add("--direction\nboth\ntcp\n:443\n--exclude-inbound-cidrs\n+10.0.0.0/8\n--from\n10.0.0.1")
	f.Fuzz(func(t *testing.T, line string) {
		args := append([]string{"explain"}, strings.Split(line, "\n")...)
		code, out, errOut := run(t, nil, args...)
		switch {
		case code == cli.ExitOK && out != "" && errOut == "":
		case code == cli.ExitUsage && out == "" && errOut != "":
		default:
			t.Fatalf("redirect %q: exit code %d, output %q, errors %q", args, code, out, errOut)
		}
	})
}
