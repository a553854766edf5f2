// SPDX-License-Identifier: Apache-2.0

package podtest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// figuresEnv names the file to which figures are appended, since `go test` shows
// what passing tests print only where it is asked to.
const figuresEnv = "SHUNT_FIGURES"

// Figure publishes one figure.
func Figure(t testing.TB, name string, value any, unit string) {
	t.Helper()
	line := fmt.Sprintf("FIGURE %s %v %s\n", name, value, unit)
	t.Log(strings.TrimSpace(line))
	path := os.Getenv(figuresEnv)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line); err != nil {
		t.Fatal(err)
	}
}
