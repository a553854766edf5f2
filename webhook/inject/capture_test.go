// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func TestAnnotationsBecomeFlags(t *testing.T) {
	tests := []struct {
		name        string
		annotations map[string]string
		want        string // the flags after "-m REDIRECT", joined by spaces; '' is an empty value
	}{
		{name: "nothing said", want: "-i * -x '' -b * -d 15090,15021,15020"},
		{
			name:        "all of ours",
			annotations: map[string]string{contract.AnnotationIncludeInboundPorts: "80, 8000-8010", contract.AnnotationExcludeInboundPorts: "8081,9000-9010", contract.AnnotationIncludeOutboundPorts: "443", contract.AnnotationExcludeOutboundPorts: "5432", contract.AnnotationIncludeOutboundRanges: "10.1.2.3/8, fd00::1/8", contract.AnnotationExcludeOutboundRanges: "192.0.2.1"},
			want:        "-i 10.0.0.0/8,fd00::/8 -x 192.0.2.1/32 -b 80,8000-8010 -d 15090,15021,15020,8081,9000-9010 -o 5432 -q 443",
		},
		{
			name:        "Istio's words",
			annotations: map[string]string{"traffic.sidecar.istio.io/excludeInboundPorts": "8081", "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8", "traffic.sidecar.istio.io/includeOutboundIPRanges": "*"},
			want:        "-i * -x 10.0.0.0/8 -b * -d 15090,15021,15020,8081",
		},
		{
			name:        "ours beats the alias, even a broken one",
			annotations: map[string]string{"traffic.sidecar.istio.io/excludeOutboundPorts": "nonsense", contract.AnnotationExcludeOutboundPorts: "6379"},
			want:        "-i * -x '' -b * -d 15090,15021,15020 -o 6379",
		},
		{
			name:        "empty includes switch a direction off",
			annotations: map[string]string{contract.AnnotationIncludeInboundPorts: "", contract.AnnotationIncludeOutboundRanges: "", contract.AnnotationExcludeOutboundPorts: ""},
			want:        "-i '' -x '' -b '' -d 15090,15021,15020",
		},
	}
	for _, tt := range tests {
		pod := simplePod()
		pod.Annotations = tt.annotations
		d, err := inject.Decide(pod, namespace(), options())
		if err != nil || !d.Injected() {
			t.Errorf("%s: Decide = %+v, %v", tt.name, d, err)
			continue
		}
		command := apply(t, d, pod).Spec.InitContainers[0].Command
		base := []string{"redirect", "apply", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"}
		if diff := cmp.Diff(append(base, flagsOf(tt.want)...), command); diff != "" {
			t.Errorf("%s: command (-want +got):\n%s", tt.name, diff)
		}
	}
}

func flagsOf(text string) []string {
	fields := strings.Fields(text)
	for i, f := range fields {
		if f == "''" {
			fields[i] = ""
		}
	}
	return fields
}

// Whatever annotations are accepted, the init container's command line is one
// that it takes: a pod that hangs in its init container tells nobody why.
func TestCommandLineIsTaken(t *testing.T) {
	entry := rapid.SampledFrom([]string{
		"", "*", "+", "=", "80", "+8081", "=1-65535", "80-90,100", "10.0.0.0/8", "+fd00::/8", "0.0.0.0/0", "::/0", "::1", "127.0.0.1",
		"127.0.0.0/8", "126.0.0.0/7", "::ffff:10.0.0.1", "::ffff:0:0/96", "fe80::1%eth0", "15001", "-1", "65536", "90-80", "redirect", "none", "auto", "nftables", "iptables", "eth1", "eth+",
	})
	keys := []string{
		contract.AnnotationIncludeInboundPorts, contract.AnnotationExcludeInboundPorts, contract.AnnotationIncludeOutboundPorts,
		contract.AnnotationExcludeOutboundPorts, contract.AnnotationIncludeOutboundRanges, contract.AnnotationExcludeOutboundRanges,
		contract.AnnotationInterceptionMode, contract.AnnotationInterceptionBackend, contract.AnnotationExcludeInterfaces, "traffic.sidecar.istio.io/includeOutboundIPRanges",
	}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		pod, ns := simplePod(), namespace()
		pod.Annotations = rapid.MapOfN(rapid.SampledFrom(keys), entry, 0, 3).Draw(t, "pod")
		ns.Annotations = rapid.MapOfN(rapid.SampledFrom(keys), entry, 0, 2).Draw(t, "namespace")
		d, err := inject.Decide(pod, ns, options())
		if err != nil {
			return
		}
		command := initCommand(apply(t, d, pod))
		if command == nil {
			return
		}
		var stderr bytes.Buffer
		code := cli.Run(t.Context(), append(slices.Clone(command[1:]), "--dry-run"), cli.Env{Stdout: new(bytes.Buffer), Stderr: &stderr, Backends: backends.All()})
		if code != cli.ExitOK {
			t.Fatalf("%q is not taken: %s", command, &stderr)
		}
		taken++
	})
	if taken == 0 {
		t.Error("no command line was tried")
	}
}

func initCommand(pod *corev1.Pod) []string {
	for _, c := range pod.Spec.InitContainers {
		if c.Name == contract.InitContainer {
			return c.Command
		}
	}
	return nil
}
