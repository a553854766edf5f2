// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAddGolden starts the plugin with each example of stdin, and compares what
// it answers and what it asked of backends. -update writes the answers.
func TestAddGolden(t *testing.T) {
	examples, err := filepath.Glob("testdata/add/*.json")
	if err != nil || len(examples) == 0 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	for _, example := range examples {
		name := strings.TrimSuffix(filepath.Base(example), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := invocation{verb: "ADD", stdin: stdinOf(t, name)}.run(t)
			golden := filepath.Join("testdata", "add", name+".golden")
			text := fmt.Sprintf("exit code %d\nbackends: %s\n%s\n", got.code, got.calls, strings.TrimSuffix(got.stdout, "\n"))
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
			if got.stderr != "" {
				t.Errorf("standard error is the log's: %s", got.stderr)
			}
			if got.code == 0 {
				unchanged(t, stdinOf(t, name), got.stdout)
			}
		})
	}
}

// unchanged holds that a result is the previous one, byte for byte.
func unchanged(t *testing.T, stdin, stdout string) {
	t.Helper()
	var in struct{ PrevResult json.RawMessage }
	if err := json.Unmarshal([]byte(stdin), &in); err != nil {
		t.Fatal(err)
	}
	if string(in.PrevResult) != stdout {
		t.Errorf("result %s, want %s", stdout, in.PrevResult)
	}
}
