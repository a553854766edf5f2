// SPDX-License-Identifier: Apache-2.0

//go:build netns

package validate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
	"github.com/shuntmesh/shunt/redirect/flags"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/validate"
)

// childEnv makes a test binary the command `redirect` with these arguments.
const childEnv = "SHUNT_VALIDATE_ARGS"

func TestMain(m *testing.M) {
	var args []string
	if text := os.Getenv(childEnv); text != "" {
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			panic(err)
		}
		os.Exit(command(args))
	}
	if testnet.Child() {
		return
	}
	os.Exit(m.Run())
}

func command(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, args, cli.Env{
		Stdout: os.Stdout, Stderr: os.Stderr, Backends: backends.All(),
		Owner: validate.Owner{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())},
		Exec:  func(argv []string) error { return fmt.Errorf("would start %q", argv) },
	})
}

// usual are the flags of a pod without annotations.
func usual(more ...string) []string {
	return append([]string{"-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020"}, more...)
}

const (
	application = contract.ValidateUID
	proxy       = contract.ProxyUID
)

// newPod is a pod on a node that forwards what it sends, to where nobody is.
func newPod(t testing.TB) (node, pod *testnet.Namespace) {
	node, pod = testnet.Pair(t)
	node.Sysctl(t, "ipv4/ip_forward", "1")
	node.Sysctl(t, "ipv6/conf/all/forwarding", "1")
	settle(t, pod)
	return node, pod
}

// settle waits until IPv6 works between them: the kernel takes up to a second to
// tell itself of a new link.
func settle(t testing.TB, pod *testnet.Namespace) {
	t.Helper()
	for range 100 {
		c, _ := pod.Dial(t, "", "["+testnet.NodeV6+"]:1")
		if c == nil { // refused
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// prover is a validator at work.
type prover struct {
	cmd            *exec.Cmd
	stdout, stderr *lines
}

// lines may be read while they are written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the validator in the pod as a user without any capability.
func start(t testing.TB, pod *testnet.Namespace, uid uint32, args ...string) *prover {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	text, err := json.Marshal(append([]string{"validate"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	p := &prover{stdout: new(lines), stderr: new(lines)}
	p.cmd = exec.Command("/proc/self/fd/3") // the folder of a test binary is closed to other users
	p.cmd.ExtraFiles = []*os.File{self}
	p.cmd.Env = []string{childEnv + "=" + string(text)}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	pod.Do(t, p.cmd.Start)
	return p
}

func (p *prover) wait(t testing.TB) (code int, said string) {
	t.Helper()
	err := p.cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), p.stdout.String() + p.stderr.String()
}

// prove runs the validator to its end.
func prove(t testing.TB, pod *testnet.Namespace, uid uint32, args ...string) (code int, said string) {
	t.Helper()
	return start(t, pod, uid, args...).wait(t)
}

func planOf(t testing.TB, args ...string) redirect.Plan {
	t.Helper()
	parsed, err := flags.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	p, err := redirect.NewPlan(parsed.Config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, pod *testnet.Namespace, b redirect.Backend, p redirect.Plan) {
	t.Helper()
	pod.Do(t, func() error {
		_, err := b.Apply(t.Context(), p)
		return err
	})
}

// subjects are the backends that are not parts of another.
func subjects() []backends.Backend {
	var out []backends.Backend
	for _, b := range backends.All() {
		if !b.Forced {
			out = append(out, b)
		}
	}
	return out
}
