// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bufio"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const (
	maxLine       = 8 << 10 // bytes
	maxLines      = 64      // of one request
	maxAttributes = 32      // of one line
)

// log makes lines of the plugin's log into lines of the agent's.
func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	lines := bufio.NewScanner(http.MaxBytesReader(w, r.Body, maxBody))
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for n := 0; lines.Scan(); n++ {
		if n == maxLines {
			s.refuse(w, "more than 64 lines in one request")
			return
		}
		if text := strings.TrimSpace(lines.Text()); text != "" {
			s.emit(r, parseLine(text))
		}
	}
	if err := lines.Err(); err != nil {
		s.refuse(w, err.Error()+" (a line has at most 8 KiB, a request 64)")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) refuse(w http.ResponseWriter, why string) {
	s.options.Metrics.lost.Inc()
	status := http.StatusRequestEntityTooLarge
	s.options.Log.Warn("the plugin's log is cut", "why", why)
	http.Error(w, why, status)
}

func (s *Server) emit(r *http.Request, l line) {
	s.options.Metrics.lines.WithLabelValues(strings.ToLower(l.level.String())).Inc()
	s.options.Log.LogAttrs(r.Context(), l.level, l.message, slog.Attr{Key: "plugin", Value: slog.GroupValue(l.attributes...)})
}

// line is one line of the plugin's log.
type line struct {
	level      slog.Level
	message    string
	attributes []slog.Attr // in order of their keys
}

// parseLine reads what slog's JSON handler writes. What it can't read is a
// warning with the text in it: it may be a plugin in trouble.
func parseLine(text string) line {
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return line{level: slog.LevelWarn, message: "the plugin wrote what is no line of a log", attributes: []slog.Attr{slog.String("text", text)}}
	}
	var l line
	if level, err := parseLevel(fields[slog.LevelKey]); err == nil {
		l.level = level
	} else {
		l.level = slog.LevelWarn
	}
	l.message, _ = fields[slog.MessageKey].(string)
	delete(fields, slog.LevelKey)
	delete(fields, slog.MessageKey)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if len(l.attributes) == maxAttributes {
			break
		}
		l.attributes = append(l.attributes, slog.Any(key, fields[key]))
	}
	return l
}

// parseLevel reads one of the four levels: of others a sender could make as many
// metrics as it likes.
func parseLevel(v any) (slog.Level, error) {
	text, _ := v.(string)
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if text == level.String() {
			return level, nil
		}
	}
	return 0, errors.New("no level")
}
