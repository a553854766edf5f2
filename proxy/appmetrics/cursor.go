// SPDX-License-Identifier: Apache-2.0

package appmetrics

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxLabels bounds the labels of one sample; Prometheus' users are told to have
// ten at most.
const maxLabels = 128

// cursor reads one line from left to right, as Prometheus' own scanners do
// (model/textparse: promlex.l, openmetricslex.l). Names are the classic ones:
// others are written only for those who ask for them.
type cursor struct {
	rest   string
	format format
}

// blank reads what stands between two words, and reports whether anything did:
// OpenMetrics has exactly one space.
func (c *cursor) blank() bool {
	if c.format == openMetrics {
		rest, found := strings.CutPrefix(c.rest, " ")
		c.rest = rest
		return found
	}
	rest := strings.TrimLeft(c.rest, " \t")
	found := len(rest) < len(c.rest)
	c.rest = rest
	return found
}

// word reads up to the next blank.
func (c *cursor) word() string {
	end := strings.IndexAny(c.rest, " \t")
	if end < 0 {
		end = len(c.rest)
	}
	word := c.rest[:end]
	c.rest = c.rest[end:]
	return word
}

// name reads a name, of which colon says whether it may have colons; "" is none.
func (c *cursor) name(colon bool) string {
	end := 0
	for end < len(c.rest) {
		b := c.rest[end]
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || colon && b == ':'
		if !letter && (end == 0 || b < '0' || b > '9') {
			break
		}
		end++
	}
	name := c.rest[:end]
	c.rest = c.rest[end:]
	return name
}

// metric reads the name of a metric that is not the proxy's.
func (c *cursor) metric() (string, error) {
	name := c.name(true)
	switch {
	case name == "":
		return "", errors.New("there is no name of a metric")
	case strings.HasPrefix(name, ownPrefix):
		return "", errOwnName
	}
	return name, nil
}

// labels reads labels in braces, each at most once.
func (c *cursor) labels() error {
	c.rest = c.rest[1:]
	var names []string
	for {
		c.spread()
		if rest, found := strings.CutPrefix(c.rest, "}"); found {
			c.rest = rest
			return nil
		}
		name := c.name(false)
		switch {
		case name == "" || name == "__name__":
			return errors.New("there is no name of a label")
		case slices.Contains(names, name):
			return fmt.Errorf("the label %s is there twice", name)
		case len(names) == maxLabels:
			return fmt.Errorf("there are more than %d labels", maxLabels)
		}
		names = append(names, name)
		if err := c.labelValue(); err != nil {
			return err
		}
	}
}

// labelValue reads ="value" and the comma behind it. The last label may have one
// too in the older format.
func (c *cursor) labelValue() error {
	c.spread()
	rest, found := strings.CutPrefix(c.rest, "=")
	c.rest = rest
	c.spread()
	if !found || !strings.HasPrefix(c.rest, `"`) {
		return errors.New("a label has no value")
	}
	end := 1
	for end < len(c.rest) && c.rest[end] != '"' {
		if c.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(c.rest) {
		return errors.New("the value of a label has no end")
	}
	c.rest = c.rest[end+1:]
	c.spread()
	if rest, found = strings.CutPrefix(c.rest, ","); !found && !strings.HasPrefix(c.rest, "}") ||
		found && c.format == openMetrics && strings.HasPrefix(rest, "}") {
		return errors.New("the labels have no end")
	}
	c.rest = rest
	return nil
}

// spread reads blanks between the parts of labels, which OpenMetrics has not.
func (c *cursor) spread() {
	if c.format == plain {
		c.blank()
	}
}

// tail reads what may follow a value: a time, and in OpenMetrics an exemplar.
func (c *cursor) tail() error {
	if c.format == plain {
		c.blank()
		if c.rest == "" {
			return nil
		}
		word := c.word()
		c.blank()
		if _, err := strconv.ParseUint(word, 10, 63); err != nil || c.rest != "" {
			return errors.New("what follows the value is no time in milliseconds")
		}
		return nil
	}
	if !strings.HasPrefix(c.rest, " # ") && c.rest != "" {
		if !c.blank() || !isTime(c.word()) {
			return errors.New("what follows the value is no time in seconds")
		}
	}
	if c.rest == "" {
		return nil
	}
	return c.exemplar()
}

// exemplar reads labels, a value, and maybe a time (OpenMetrics 1.0, "Exemplars").
func (c *cursor) exemplar() error {
	wrong := errors.New("what follows the value is no exemplar")
	rest, found := strings.CutPrefix(c.rest, " # ")
	if c.rest = rest; !found || !strings.HasPrefix(rest, "{") {
		return wrong
	}
	if err := c.labels(); err != nil {
		return fmt.Errorf("exemplar: %w", err)
	}
	if !c.blank() || !isFloat(c.word()) {
		return wrong
	}
	if c.rest == "" {
		return nil
	}
	if !c.blank() || !isTime(c.word()) || c.rest != "" {
		return wrong
	}
	return nil
}

// isFloat tells numbers as Go writes them, without what newer versions of Go
// read beside (hexadecimal exponents, underscores).
func isFloat(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && !strings.ContainsAny(text, "pP_")
}

// isTime tells a finite number of seconds.
func isTime(text string) bool {
	return isFloat(text) && !strings.ContainsAny(text, "nN")
}
