// SPDX-License-Identifier: Apache-2.0

package appmetrics

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxLine bounds one line, in bytes.
	maxLine = 64 << 10
	// endMark is the last line of OpenMetrics.
	endMark = "# EOF"
	// ownPrefix is that of every metric of the proxy.
	ownPrefix = "shunt_proxy_"
)

// check reads an answer and returns its lines without comments, blank lines and
// the end mark, so that other lines can stand before them. A scraper that meets
// one line which it can't read throws away the whole answer, so an answer is
// taken whole or not at all.
func check(r io.Reader, f format) ([]byte, error) {
	var out bytes.Buffer
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	ended := false
	// Where reading fails the last line is half of one, and says nothing.
	for n := 1; lines.Scan() && lines.Err() == nil; n++ {
		line := lines.Text()
		if ended {
			return nil, fmt.Errorf("line %d: something follows %q", n, endMark)
		}
		if ended = f == openMetrics && line == endMark; ended {
			continue
		}
		keep, err := f.line(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %q", n, err, line[:min(len(line), 80)])
		}
		if keep {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("a line is longer than %d bytes", maxLine)
	case err != nil:
		return nil, broken{err}
	case f == openMetrics && !ended:
		return nil, fmt.Errorf("the last line is not %q: it was cut off", endMark)
	}
	return out.Bytes(), nil
}

// broken is an error of the connection, not of what was read.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

// errOwnName says that the application's answer has a metric of the proxy.
var errOwnName = errors.New("the metric has the name of one of the proxy's")

// line checks one line, and whether it says anything.
func (f format) line(line string) (keep bool, err error) {
	if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
		return false, errors.New("it is no text in UTF-8")
	}
	c := cursor{line, f}
	if f == plain {
		c.blank()
	}
	switch {
	case c.rest == "":
		return false, nil
	case c.rest[0] == '#':
		c.rest = c.rest[1:]
		return c.comment()
	default:
		return true, c.sample()
	}
}

// comment checks metadata; anything else after # says nothing.
func (c *cursor) comment() (keep bool, err error) {
	if !c.blank() {
		return false, nil
	}
	word := c.word()
	if word != "HELP" && word != "TYPE" && (word != "UNIT" || c.format == plain) {
		return false, nil
	}
	if !c.blank() {
		return false, fmt.Errorf("%s without a name", word)
	}
	name, err := c.metric()
	if err != nil {
		return false, err
	}
	if !c.blank() && (word != "HELP" || c.format == openMetrics) {
		return false, fmt.Errorf("%s without a text", word)
	}
	switch word {
	case "TYPE":
		err = c.kind()
	case "UNIT":
		if c.rest != "" && !strings.HasSuffix(name, "_"+c.rest) {
			err = fmt.Errorf("the unit is not the end of the name")
		}
	}
	return true, err
}

func (c *cursor) kind() error {
	kinds := []string{"counter", "gauge", "histogram", "summary", "untyped"}
	if c.format == openMetrics {
		kinds = []string{"counter", "gauge", "histogram", "summary", "unknown", "gaugehistogram", "stateset", "info"}
	}
	word := c.word()
	if c.format == plain {
		c.blank()
	}
	if c.rest != "" || !slices.Contains(kinds, word) {
		return fmt.Errorf("the type is unknown (allowed: %s)", strings.Join(kinds, ", "))
	}
	return nil
}

// sample checks name, labels, value, and what may follow.
func (c *cursor) sample() error {
	if _, err := c.metric(); err != nil {
		return err
	}
	spaced := c.format == plain && c.blank()
	if strings.HasPrefix(c.rest, "{") {
		if err := c.labels(); err != nil {
			return err
		}
		spaced = c.format == plain // none is needed after the brace
	}
	if !c.blank() && !spaced {
		return errors.New("there is no value")
	}
	if !isFloat(c.word()) {
		return errors.New("the value is no number")
	}
	return c.tail()
}
