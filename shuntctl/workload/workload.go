// SPDX-License-Identifier: Apache-2.0

// Package workload does to files what the webhook does to pods: it finds the
// pods and pod templates in a stream of YAML documents, injects them or takes
// the injection back, and explains why a pod has a proxy or has none. Documents
// that don't change are written byte for byte as they were read; in those that
// do, comments and the order of the keys stay.
package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// MaxInput bounds what is read, in bytes: ten times the largest file of
// manifests that one would apply at once.
const MaxInput = 64 << 20

// Outcome is what became of one pod or pod template.
type Outcome struct {
	Object    string        `json:"object"` // "deployment/web"
	Namespace string        `json:"namespace,omitempty"`
	Changed   bool          `json:"changed"`
	Reason    inject.Reason `json:"reason,omitempty"`
	Message   string        `json:"message"`
	Warnings  []string      `json:"warnings,omitempty"`
}

// editor says what becomes of a pod or pod template.
type editor func(template) ([]inject.Operation, Outcome, error)

// Inject writes the documents of in to out, with a proxy in every pod and pod
// template that the webhook would give one. A Namespace among the documents
// counts for the pods in it; where nobody says anything, a pod is injected,
// since its owner asks for it here. Nothing is written when a pod is refused.
func Inject(in io.Reader, out io.Writer, o inject.Options) ([]Outcome, error) {
	o.ByDefault = true
	return edit(in, out, func(namespaces map[string]inject.Namespace) editor {
		return func(t template) ([]inject.Operation, Outcome, error) {
			d, err := inject.Decide(t.pod, t.namespaceIn(namespaces), o)
			if err != nil {
				return nil, Outcome{}, err
			}
			return d.Patch, t.outcome(d.Reason, d.Injected(), d.Reason.Words(), d.Warnings), nil
		}
	})
}

// Uninject writes the documents of in to out, with every injection taken back.
func Uninject(in io.Reader, out io.Writer) ([]Outcome, error) {
	return edit(in, out, func(map[string]inject.Namespace) editor {
		return func(t template) ([]inject.Operation, Outcome, error) {
			steps := inject.Restore(t.pod)
			if steps == nil {
				return nil, t.outcome("", false, "it was not injected", nil), nil
			}
			return steps, t.outcome("", true, "the injection is taken back", nil), nil
		}
	})
}

// Review says what would become of the pods and pod templates in a stream.
func Review(in io.Reader, o inject.Options) ([]Outcome, error) {
	var all []Outcome
	_, err := edit(in, io.Discard, func(namespaces map[string]inject.Namespace) editor {
		return func(t template) ([]inject.Operation, Outcome, error) {
			e := explain(t.pod, t.namespaceIn(namespaces), o)
			all = append(all, t.outcome(e.Reason, e.Injected, e.Message, e.Warnings))
			return nil, Outcome{}, nil
		}
	})
	return all, err
}

func edit(in io.Reader, out io.Writer, with func(map[string]inject.Namespace) editor) ([]Outcome, error) {
	text, err := io.ReadAll(io.LimitReader(in, MaxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	if len(text) > MaxInput {
		return nil, fmt.Errorf("read documents: there are more than %d MiB (split them)", MaxInput>>20)
	}
	documents, err := parse(text)
	if err != nil {
		return nil, err
	}
	var (
		outcomes []Outcome
		problems []error
		whole    bytes.Buffer
		change   = with(namespacesOf(documents))
	)
	for _, d := range documents {
		written, did, err := d.edit(change)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		outcomes = append(outcomes, did...)
		whole.Write(d.separator)
		whole.Write(written)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if _, err := out.Write(whole.Bytes()); err != nil {
		return nil, fmt.Errorf("write documents: %w", err)
	}
	return outcomes, nil
}
