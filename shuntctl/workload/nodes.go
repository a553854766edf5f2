// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// nodes returns the document as nodes, which keep comments and order. Where
// anchors are used, a change in one place would show in others, so they are
// resolved first, and comments are lost with them. JSON becomes YAML.
func (d document) nodes() (*yamlv3.Node, error) {
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(d.body, &root); err != nil {
		return nil, fmt.Errorf("parse YAML: %w", err)
	}
	if len(root.Content) != 1 {
		return nil, errors.New("parse YAML: there is no object")
	}
	if hasAlias(&root) {
		text, err := yaml.YAMLToJSON(d.body)
		if err != nil {
			return nil, fmt.Errorf("resolve anchors: %w", err)
		}
		root = yamlv3.Node{}
		if err := yamlv3.Unmarshal(text, &root); err != nil {
			return nil, fmt.Errorf("resolve anchors: %w", err)
		}
	}
	if object := root.Content[0]; object.Style&yamlv3.FlowStyle != 0 {
		plain(object)
	}
	return &root, nil
}

func hasAlias(n *yamlv3.Node) bool {
	return n.Kind == yamlv3.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// plain writes n without JSON's brackets, and without its quotes where a text is
// safe without them. YAML 1.1, which Kubernetes reads, takes more words for
// something else than the encoder knows: "yes" and "n" are truth values there.
func plain(n *yamlv3.Node) {
	n.Style &^= yamlv3.FlowStyle
	if n.Kind == yamlv3.ScalarNode && n.Style&yamlv3.DoubleQuotedStyle != 0 {
		switch {
		case isSafe(n.Value):
			n.Style = 0
		case isBlock(n.Value):
			n.Style = yamlv3.LiteralStyle
		}
	}
	for _, child := range n.Content {
		plain(child)
	}
}

// isSafe reports whether a text is one without quotes: a word, a path, a flag,
// an image.
func isSafe(text string) bool {
	switch strings.ToLower(text) {
	case "", "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	letter := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	first := strings.TrimLeft(text, "-/")
	if first == "" || !letter(first[0]) || strings.HasSuffix(text, ":") {
		return false
	}
	return !strings.ContainsFunc(text, func(c rune) bool {
		return c > 127 || !letter(byte(c)) && (c < '0' || c > '9') && !strings.ContainsRune("-_./:", c)
	})
}

// isBlock reports whether a text is lines that can be read as they are, as
// certificates are.
func isBlock(text string) bool {
	return strings.HasSuffix(text, "\n") && text[0] != ' ' && text[0] != '\n' &&
		!strings.ContainsFunc(text, func(c rune) bool { return c != '\n' && (c < ' ' || c > '~') })
}

// isCompact reports whether lists stand below their key without an indent, as
// kubectl writes them.
func isCompact(n *yamlv3.Node) bool {
	for i, child := range n.Content {
		if n.Kind == yamlv3.MappingNode && i%2 == 1 && child.Kind == yamlv3.SequenceNode && child.Style&yamlv3.FlowStyle == 0 {
			return child.Column == n.Content[i-1].Column
		}
		if (n.Kind != yamlv3.MappingNode || i%2 == 1) && isCompact(child) {
			return true
		}
	}
	return false
}

// apply does one step of a JSON patch to nodes.
func apply(root *yamlv3.Node, step inject.Operation) error {
	switch step.Op {
	case "add":
		value, err := nodeOf(step.Value)
		if err != nil {
			return err
		}
		return add(root, step.Path, value)
	case "move":
		value, err := remove(root, step.From)
		if err != nil {
			return err
		}
		return add(root, step.Path, value)
	case "remove":
		_, err := remove(root, step.Path)
		return err
	default:
		return fmt.Errorf("do step: %q is unknown (allowed: add, move, remove)", step.Op)
	}
}

func nodeOf(value any) (*yamlv3.Node, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	var document yamlv3.Node
	if err := yamlv3.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("decode value: %w", err)
	}
	plain(&document)
	return document.Content[0], nil
}

// parent returns the node that holds the last token of path. Objects on the way
// that are missing are made, as a template without metadata needs it.
func parent(root *yamlv3.Node, path string) (*yamlv3.Node, string, error) {
	tokens := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(tokens[i])
	}
	at, last := root.Content[0], tokens[len(tokens)-1]
	for _, token := range tokens[:len(tokens)-1] {
		i, err := find(at, token)
		switch {
		case err != nil:
			return nil, "", err
		case i < 0:
			child := &yamlv3.Node{Kind: yamlv3.MappingNode}
			set(at, token, child)
			at = child
		default:
			at = at.Content[i]
		}
	}
	return at, last, nil
}

// find returns the place of a token's value in the node's contents, or -1 when
// the object has no such key.
func find(n *yamlv3.Node, token string) (int, error) {
	switch n.Kind {
	case yamlv3.MappingNode:
		found := -1
		for i := 0; i < len(n.Content); i += 2 {
			switch {
			case n.Content[i].Value != token:
			case found >= 0:
				return 0, fmt.Errorf("find %q: line %d has it a second time (remove one)", token, n.Content[i].Line)
			default:
				found = i + 1
			}
		}
		return found, nil
	case yamlv3.SequenceNode:
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(n.Content) {
			return 0, fmt.Errorf("find entry: the list has no %q", token)
		}
		return i, nil
	default:
		return 0, fmt.Errorf("find %q: it would be inside of a single value", token)
	}
}

func add(root *yamlv3.Node, path string, value *yamlv3.Node) error {
	holder, last, err := parent(root, path)
	if err != nil {
		return err
	}
	holder.Style &^= yamlv3.FlowStyle // a container on one line could not be read
	if holder.Kind != yamlv3.SequenceNode {
		return setAt(holder, last, value)
	}
	at := len(holder.Content)
	if last != "-" {
		if at, err = strconv.Atoi(last); err != nil || at > len(holder.Content) || at < 0 {
			return fmt.Errorf("add entry: the list has no place %q", last)
		}
	}
	holder.Content = slices.Insert(holder.Content, at, value)
	return nil
}

func setAt(holder *yamlv3.Node, key string, value *yamlv3.Node) error {
	i, err := find(holder, key)
	if err != nil {
		return err
	}
	if i < 0 {
		set(holder, key, value)
		return nil
	}
	holder.Content[i] = value
	return nil
}

func set(holder *yamlv3.Node, key string, value *yamlv3.Node) {
	holder.Content = append(holder.Content, &yamlv3.Node{Kind: yamlv3.ScalarNode, Tag: "!!str", Value: key}, value)
}

func remove(root *yamlv3.Node, path string) (*yamlv3.Node, error) {
	holder, last, err := parent(root, path)
	if err != nil {
		return nil, err
	}
	i, err := find(holder, last)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return nil, fmt.Errorf("remove %q: it is not there", last)
	}
	value, first := holder.Content[i], i
	if holder.Kind == yamlv3.MappingNode {
		first--
	}
	holder.Content = slices.Delete(holder.Content, first, i+1)
	return value, nil
}
