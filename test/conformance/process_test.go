// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// A sidecar whose memory is looked at runs in a process of its own: this test's
// binary, which these variables make a sidecar of.
const (
	roleKey = "SHUNT_CONFORMANCE_ROLE" // inbound or outbound
	toKey   = "SHUNT_CONFORMANCE_TO"   // the application, or the service's only endpoint
)

// announcement precedes the address of the listener on standard output.
const announcement = "listening on "

// beSidecar serves until standard input ends, with the limits on memory that a
// pod's sidecar has.
func beSidecar(t *testing.T) {
	to := netip.MustParseAddrPort(os.Getenv(toKey))
	inbound := os.Getenv(roleKey) == "inbound"
	p := sidecartest.Start(t, func(o *proxy.Options) {
		o.GCPercent, o.MemoryLimit = proxy.DefaultOptions().GCPercent, proxy.DefaultOptions().MemoryLimit
		if inbound {
			o.Origin = sidecartest.Origin{Destination: to}
		} else {
			o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(to)
		}
	})
	at := p.Outbound
	if inbound {
		at = p.Inbound
	}
	fmt.Println(announcement + at.String())
	_, _ = io.Copy(io.Discard, os.Stdin) // whose end is all that it says
}

// sidecar is a proxy in a process of its own.
type sidecar struct {
	role string
	at   netip.AddrPort // where it listens
	pid  int
}

// startSidecar runs this binary anew, as a sidecar, until the end of the test.
func startSidecar(t *testing.T, role string, to netip.AddrPort) *sidecar {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), roleKey+"="+role, toKey+"="+to.String(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stdout)
	t.Cleanup(func() {
		_ = stdin.Close()
		rest, _ := io.ReadAll(said)
		if err := cmd.Wait(); err != nil {
			t.Errorf("sidecar, %s: %v: %s", role, err, rest)
		}
	})
	for {
		line, err := said.ReadString('\n')
		if err != nil {
			t.Fatalf("sidecar, %s: it says no address: %v", role, err)
		}
		if _, at, found := strings.Cut(strings.TrimSpace(line), announcement); found {
			return &sidecar{role, netip.MustParseAddrPort(at), cmd.Process.Pid}
		}
	}
}

// resetPeak has the kernel forget the highest RSS, proc_pid_clear_refs(5).
func (s *sidecar) resetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

var (
	rssLine  = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)
	peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)
)

// memory is the RSS now and the highest since resetPeak, in bytes.
func (s *sidecar) memory(t *testing.T) (now, peak int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	var out [2]int
	for i, line := range []*regexp.Regexp{rssLine, peakLine} {
		f := line.FindSubmatch(text)
		if f == nil {
			t.Fatalf("no %v in the status of process %d", line, s.pid)
		}
		kib, err := strconv.Atoi(string(f[1]))
		if err != nil {
			t.Fatal(err)
		}
		out[i] = kib << 10
	}
	return out[0], out[1]
}
