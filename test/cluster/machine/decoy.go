// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// decoys are files that a kubelet would write and that are the whole host's, with what it wants to read there. Each machine
// sees a copy of its own, so the host's values stay as they are.
func decoys() map[string]string {
	return map[string]string{
		"/proc/sys/vm/overcommit_memory":      "1",
		"/proc/sys/vm/panic_on_oom":           "0",
		"/proc/sys/kernel/panic":              "10",
		"/proc/sys/kernel/panic_on_oops":      "1",
		"/proc/sys/kernel/keys/root_maxkeys":  "1000000",
		"/proc/sys/kernel/keys/root_maxbytes": "25000000",
		// By this a kubelet sees that its machine was rebooted, and by the other whose it is.
		"/proc/sys/kernel/random/" + bootID: uuid(),
		"/etc/machine-id":                   strings.ReplaceAll(uuid(), "-", ""),
	}
}

// bootID is the file that names one boot of a machine.
const bootID = "boot_id"

// BootID returns what the machine whose decoys are in dir calls this boot.
func BootID(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, bootID))
	if err != nil {
		return "", fmt.Errorf("read a machine's boot: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// WriteDecoys writes a machine's copies into dir and returns where each belongs: target to copy. What the host doesn't have
// is left out.
func WriteDecoys(dir string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make decoys: %w", err)
	}
	copies := map[string]string{}
	for target, text := range decoys() {
		if _, err := os.Stat(target); err != nil {
			continue
		}
		path := filepath.Join(dir, filepath.Base(target))
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			return nil, fmt.Errorf("make decoys: %w", err)
		}
		copies[target] = path
	}
	return copies, nil
}

// uuid returns a random identifier, RFC 9562 section 5.4.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
