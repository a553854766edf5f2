// SPDX-License-Identifier: Apache-2.0

package appmetrics

import (
	"fmt"
	"mime"
	"strconv"
	"strings"
)

// format is one of the two texts that metrics are written in.
type format int

const (
	plain       format = iota // Prometheus' text format 0.0.4
	openMetrics               // OpenMetrics 1.0.0
)

// contentType is what an answer in the format is called.
func (f format) contentType() string {
	if f == openMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// end is what the format ends with.
func (f format) end() string {
	if f == openMetrics {
		return endMark + "\n"
	}
	return ""
}

// takesOpenMetrics reads a scraper's Accept (RFC 9110 section 12.5.1): whoever
// takes OpenMetrics takes the older format too, so this is all there is to know.
func takesOpenMetrics(accept []string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, err := mime.ParseMediaType(part)
		if err != nil || name != "application/openmetrics-text" {
			continue
		}
		quality, err := strconv.ParseFloat(parameters["q"], 64)
		refused := err == nil && quality <= 0
		if version := parameters["version"]; !refused && (version == "" || version == "1.0.0") {
			return true
		}
	}
	return false
}

// accept is what the application is asked for.
func accept(open bool) string {
	if open {
		return "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
	}
	return "text/plain;version=0.0.4"
}

// formatOf reads the application's Content-Type. OpenMetrics that nobody asked
// for is no answer: it can't be written as the older format.
func formatOf(contentType string, open bool) (format, error) {
	if contentType == "" {
		return plain, nil // as scrapers did for years; the lines are checked
	}
	name, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return plain, fmt.Errorf("content type %q: %w", contentType, err)
	}
	version := parameters["version"]
	switch {
	case name == "text/plain" && (version == "" || version == "0.0.4" || version == "1.0.0"):
		return plain, nil
	case name == "application/openmetrics-text" && open && (version == "" || version == "1.0.0" || version == "0.0.1"):
		return openMetrics, nil
	}
	return plain, fmt.Errorf("content type %q (allowed: what was asked for, %s)", contentType, accept(open))
}
