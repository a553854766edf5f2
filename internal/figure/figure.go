// SPDX-License-Identifier: Apache-2.0

// Package figure publishes what tests measure, one line "FIGURE <name> <value>
// <unit>" each. It is for tests alone.
package figure

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// fileEnv names the file to which figures are appended, since `go test` shows
// what passing tests print only where it is asked to.
const fileEnv = "SHUNT_FIGURES"

// Publish writes one figure into the test's log, and into the file if there is one.
func Publish(t testing.TB, name string, value any, unit string) {
	t.Helper()
	line := fmt.Sprintf("FIGURE %s %v %s\n", name, value, unit)
	t.Log(strings.TrimSpace(line))
	path := os.Getenv(fileEnv)
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
