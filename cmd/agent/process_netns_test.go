// SPDX-License-Identifier: Apache-2.0

//go:build netns

package main

import (
	"bytes"
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
)

const mib = 1 << 20

// capabilities are those of the manifest but DAC_OVERRIDE, which is for nodes
// where the folders of CNI are not root's. setpriv leaves nothing else in the
// bounding set, so that root has them and no more.
const capabilities = "-all,+net_admin,+net_raw,+sys_admin,+sys_ptrace"

// process is an agent as it is shipped, with the capabilities that it is given.
type process struct {
	*testing.T
	cmd                   *exec.Cmd
	log                   *lockedBuffer
	dir, binary, listen   string
	setpriv               string
	binDir, confDir, sock string
	ended                 chan error
	stopped               bool
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const bridge = `{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0"}]}`

// prepare builds the agent, and makes a node's folders.
func prepare(t *testing.T) *process {
	t.Helper()
	if os.Getuid() != 0 {
		if reason := os.Getenv("SHUNT_SKIP"); reason != "" {
			t.Skip("SHUNT_SKIP: " + reason)
		}
		t.Fatal("the agent needs root (SHUNT_SKIP=<reason> skips these tests)")
	}
	dir := t.TempDir()
	p := &process{
		T: t, log: &lockedBuffer{}, dir: dir, binary: filepath.Join(dir, "agent"), listen: freeAddr(t),
		binDir: filepath.Join(dir, "bin"), confDir: filepath.Join(dir, "net.d"), sock: filepath.Join(dir, "agent.sock"),
	}
	for _, folder := range []string{p.binDir, p.confDir} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.write(filepath.Join(p.confDir, "10-pods.conflist"), bridge)
	p.write(filepath.Join(dir, "cni"), "the plugin")
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Fatal(err)
	}
	p.setpriv = setpriv
	build(t, p.binary, ".")
	return p
}

// build makes a binary of a package as it is shipped.
func build(t *testing.T, binary, of string, flags ...string) {
	t.Helper()
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", binary}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, of)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

func (p *process) write(path, text string) {
	p.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		p.Fatal(err)
	}
}

// start runs it, with flags beside those that lead into the test.
func (p *process) start(kubeconfig string, flags ...string) {
	p.Helper()
	args := append([]string{
		"--bounding-set=" + capabilities, "--no-new-privs", p.binary,
		"--node", "here", "--kubeconfig", kubeconfig, "--listen", p.listen, "--socket", p.sock, "--proc", "/proc",
		"--cni-bin-dir", p.binDir, "--cni-conf-dir", p.confDir, "--plugin", filepath.Join(p.dir, "cni"),
	}, flags...)
	p.cmd = exec.Command(p.setpriv, args...)
	p.cmd.Env = append(os.Environ(), "GOMEMLIMIT=64MiB") // as in the manifest
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.ended, p.stopped = make(chan error, 1), false
	go func() { p.ended <- p.cmd.Wait() }() // received by stop, or by the cleanup
	p.Cleanup(func() {
		if !p.stopped {
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		if p.Failed() {
			p.Log(p.log)
		}
	})
}

// stop ends it as the kubelet does.
func (p *process) stop() {
	p.Helper()
	p.stopped = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			p.Errorf("exit: %v", err)
		}
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		p.Errorf("still there 20 s after SIGTERM: %v", <-p.ended)
	}
}

// get returns what the agent answers, "" for none.
func (p *process) get(path string) (int, string) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + p.listen + path)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(body)
}

func (p *process) ready() bool {
	status, _ := p.get("/ready")
	return status == http.StatusOK
}

// metric returns one line of the metrics, by its name and labels.
func (p *process) metric(name string) float64 {
	p.Helper()
	_, text := p.get("/metrics")
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(line, name+" "); is {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				p.Fatal(err)
			}
			return v
		}
	}
	p.Fatalf("no metric %s in\n%s", name, text)
	return 0
}

// within waits for something to hold.
func (p *process) within(d time.Duration, what string, holds func() bool) {
	p.Helper()
	for end := time.Now().Add(d); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			_, why := p.get("/ready")
			p.Fatalf("not within %v: %s (ready says %q)", d, what, why)
		}
	}
}

// memory is a value of the process's status, in bytes.
func (p *process) memory(key string) int {
	p.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), key+":")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.Fatalf("read %s: %v\n%s", key, err, text)
	}
	return kib << 10
}

// held returns the descriptors that the process has open, and the namespaces
// that its threads are in.
func (p *process) held() (descriptors []string, namespaces map[string]bool) {
	p.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			descriptors = append(descriptors, to)
		}
	}
	namespaces = map[string]bool{}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	for _, task := range tasks {
		if ns, err := os.Readlink(task); err == nil {
			namespaces[ns] = true
		}
	}
	return descriptors, namespaces
}

func (p *process) conflist() string {
	p.Helper()
	text, err := os.ReadFile(filepath.Join(p.confDir, "10-pods.conflist"))
	if err != nil {
		p.Fatal(err)
	}
	return string(text)
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
