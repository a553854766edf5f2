// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What stands between these lines of the document is written by WriteDocs; the
// rest is people's.
const (
	beginMark = "<!-- Written by `bench -write-docs`; not to be edited. -->"
	endMark   = "<!-- End of what is written. -->"
)

const emptyDocument = "# Performance\n\n" + beginMark + "\n" + endMark + "\n"

// WriteDocs writes the tables into dir/performance.md and the plot beside it.
func (r *Result) WriteDocs(dir string) error {
	if r.Quick {
		return errors.New("write documentation: the results are of a quick run, whose figures mean nothing")
	}
	path := filepath.Join(dir, "performance.md")
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = []byte(emptyDocument), nil
	}
	if err != nil {
		return fmt.Errorf("read documentation: %w", err)
	}
	text, err := between(old, r.document())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := replace(path, text); err != nil {
		return err
	}
	return replace(filepath.Join(dir, "performance.svg"), r.plot())
}

// between replaces what is between the marks.
func between(old, text []byte) ([]byte, error) {
	before, rest, begins := bytes.Cut(old, []byte(beginMark+"\n"))
	_, after, ends := bytes.Cut(rest, []byte(endMark))
	if !begins || !ends {
		return nil, fmt.Errorf("a mark is missing (these lines are wanted: %s and %s)", beginMark, endMark)
	}
	return bytes.Join([][]byte{before, []byte(beginMark + "\n"), text, []byte(endMark), after}, nil), nil
}

func (r *Result) document() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s. `make bench` measures anew.\n\n", r.conditions())
	fmt.Fprintf(&out, "![CPU per gRPC call](performance.svg)\n\n## Goals\n\n")
	r.judgement().markdown(&out)
	fmt.Fprintf(&out, "\n## Measurements\n\nMedians, with the lowest and highest repetition.\n")
	for _, s := range r.Scenarios {
		fmt.Fprintf(&out, "\n### %s\n\n%s.\n\n", s.Name, s.About)
		s.table().markdown(&out)
	}
	if len(r.Left) > 0 {
		fmt.Fprintf(&out, "\n## Not measured\n\n")
		for _, l := range r.Left {
			fmt.Fprintf(&out, "- %s: %s\n", l.What, l.Reason)
		}
	}
	return out.Bytes()
}
