// SPDX-License-Identifier: Apache-2.0

package install

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/cni/install/conflist"
)

// victimEnv makes the test binary an agent that is killed: it is the node's folder.
const victimEnv = "SHUNT_TEST_INSTALL_VICTIM"

// victim writes two binaries and two configurations in turn, as fast as it can.
func victim(root string) int {
	bin, confDir := filepath.Join(root, "bin"), filepath.Join(root, "net.d")
	for round := 0; ; round++ {
		source := filepath.Join(root, []string{"cni", "cni.new"}[round%2])
		if err := (&binary{source: source, dir: bin}).write(); err != nil {
			return 1
		}
		content := strings.Replace(list, "portmap", []string{"portmap", "firewall"}[round%2], 1)
		was, _, err := readFile(filepath.Join(confDir, listName))
		if err != nil {
			return 1
		}
		err = perform(confDir, []conflist.Step{{Do: conflist.Put, Name: listName, Was: was, Content: []byte(content), Mode: 0o644}})
		if err != nil {
			return 1
		}
	}
}

// TestKilled kills an agent at any moment of its work, many times: at every moment
// the configuration can be loaded and the plugin is one of the two whole ones.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	n := makeNode(t, root)
	whole := map[string]bool{}
	for _, name := range []string{"cni", "cni.new"} {
		content := strings.Repeat(name, 200_000)
		whole[content] = true
		write(t, filepath.Join(root, name), content)
	}
	if err := (&binary{source: n.source, dir: n.bin}).write(); err != nil {
		t.Fatal(err)
	}
	check := func() {
		if _, err := libcni.NetworkConfFromFile(n.list()); err != nil {
			t.Errorf("the runtime would fail: %v", err)
		}
		if content := read(t, n.plugin()); !whole[content] {
			t.Errorf("the plugin is neither of both: %d bytes", len(content))
		}
	}
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimEnv+"="+root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(30*time.Millisecond + time.Duration(rand.IntN(60_000))*time.Microsecond)
		for time.Now().Before(end) {
			check()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the victim ended by itself: %v", err)
		}
		check()
	}
	// The next agent sweeps what was left and finishes the work.
	i, stop := start(t, n.options())
	within(t, soon, "ready", ready(i))
	stop()
	n.clean(t)
	if !chained(n.list(), conf.Default()) {
		t.Errorf("the list is %s", read(t, n.list()))
	}
}
