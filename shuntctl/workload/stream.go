// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"fmt"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// document is one of a stream. Its separator is the line in front of it.
type document struct {
	number          int // from 1
	separator, body []byte
	object          map[string]any // as Kubernetes reads it; nil for an empty document
}

// parse splits text at its "---" lines and reads each document.
func parse(text []byte) ([]document, error) {
	var documents []document
	for _, d := range split(text) {
		d.number = len(documents) + 1
		if err := yaml.Unmarshal(d.body, &d.object); err != nil {
			return nil, fmt.Errorf("parse document %d: %w", d.number, err)
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// split cuts before each line that begins with "---", and behind it when nothing
// but blanks or a comment follows on the line.
func split(text []byte) []document {
	var (
		documents []document
		current   document
	)
	for line := range bytes.Lines(text) {
		rest, marks := bytes.CutPrefix(line, []byte("---"))
		if !marks || len(rest) > 0 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])) {
			current.body = append(current.body, line...)
			continue
		}
		if len(current.body) > 0 || len(current.separator) > 0 {
			documents = append(documents, current)
		}
		current = document{separator: line}
		if content := bytes.TrimSpace(rest); len(content) > 0 && content[0] != '#' {
			current = document{separator: []byte("---"), body: rest}
		}
	}
	return append(documents, current)
}

// edit returns the document's body after the changes to its pods, or as it was.
func (d document) edit(change editor) ([]byte, []Outcome, error) {
	found, err := d.templates()
	if err != nil {
		return nil, nil, err
	}
	var (
		outcomes []Outcome
		steps    []inject.Operation
	)
	for _, t := range found {
		patch, outcome, err := change(t)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", t.name(), err)
		}
		outcomes = append(outcomes, outcome)
		for _, step := range patch {
			steps = append(steps, step.Below(t.path))
		}
	}
	if len(steps) == 0 {
		return d.body, outcomes, nil
	}
	body, err := d.patch(steps)
	if err != nil {
		return nil, nil, fmt.Errorf("change document %d: %w", d.number, err)
	}
	return body, outcomes, nil
}

func (d document) patch(steps []inject.Operation) ([]byte, error) {
	root, err := d.nodes()
	if err != nil {
		return nil, err
	}
	compact := isCompact(root)
	for _, step := range steps {
		if err := apply(root, step); err != nil {
			return nil, fmt.Errorf("%s %s: %w", step.Op, step.Path, err)
		}
	}
	var out bytes.Buffer
	if bytes.Equal(d.separator, []byte("---")) {
		out.WriteByte('\n')
	}
	encoder := yamlv3.NewEncoder(&out)
	encoder.SetIndent(2)
	if compact {
		encoder.CompactSeqIndent()
	}
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), encoder.Close()
}
