// SPDX-License-Identifier: Apache-2.0

package appmetrics

import (
	"strings"
	"testing"
)

func TestCheckLines(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		plain      string // the error, or "" for none
		open       string
	}{
		{"bare", `a 1`, "", ""},
		{"labels", `http_requests_total{code="200",path="/a b"} 1.5e3`, "", ""},
		{"no labels in braces", `a{} 1`, "", ""},
		{"escapes", `a{b="\"\\\n"} 1`, "", ""},
		{"brace in value", `a{b="}"} 1`, "", ""},
		{"unicode value", `a{b="日本"} NaN`, "", ""},
		{"infinite", `a +Inf`, "", ""},
		{"colon", `job:a:rate5m 0`, "", ""},
		{"time", `a 1 1700000000000`, "", ""},
		{"fraction of time", `a 1 1700000000.5`, "no time in milliseconds", ""},
		{"time of nothing", `a 1 NaN`, "no time in milliseconds", "no time in seconds"},
		{"tabs", "a\t{ b = \"c\" , }\t1\t", "", "no text in UTF-8 or no value"},
		{"leading blank", ` a 1`, "", "no name"},
		{"two spaces", `a  1`, "", "no number"},
		{"trailing comma", `a{b="c",} 1`, "", "labels have no end"},
		{"value at the brace", `a{b="c"}1`, "", "there is no value"},
		{"exemplar", `a_total 1 # {trace_id="x"} 0.5 1700000000.1`, "no time in milliseconds", ""},
		{"exemplar after time", `a_bucket{le="1"} 1 17 # {} 0.5`, "no time in milliseconds", ""},
		{"bad exemplar", `a_total 1 # trace`, "no time in milliseconds", "no exemplar"},
		{"exemplar with two times", `a_total 1 # {} 1 2 3`, "no time", "no exemplar"},
		{"exemplar without value", `a_total 1 # {}`, "no time", "no exemplar"},
		{"help", `# HELP a what it says`, "", ""},
		{"help of nothing", `# HELP a`, "", "without a text"},
		{"type", `# TYPE a counter`, "", ""},
		{"untyped", `# TYPE a untyped`, "", "type is unknown"},
		{"unknown", `# TYPE a unknown`, "type is unknown", ""},
		{"bad type", `# TYPE a speedometer`, "type is unknown", "type is unknown"},
		{"type without name", `# TYPE `, "there is no name", "there is no name"},
		{"unit", `# UNIT a_seconds seconds`, "dropped", ""},
		{"bad unit", `# UNIT a seconds`, "dropped", "the unit is not the end"},
		{"comment", `# anything`, "dropped", "dropped"},
		{"comment without blank", `#anything`, "dropped", "dropped"},
		{"empty", ``, "dropped", "dropped"},
		{"no value", `a`, "there is no value", "there is no value"},
		{"word for a value", `a one`, "no number", "no number"},
		{"hexadecimal", `a 0x1p3`, "no number", "no number"},
		{"too large", `a 1e999`, "no number", "no number"},
		{"dash", `a-b 1`, "no value", "no value"},
		{"digit first", `1a 1`, "no name", "no name"},
		{"quoted name", `{"a.b"} 1`, "no name", "no name"},
		{"name as label", `a{__name__="shunt_proxy_state"} 1`, "no name of a label", "no name of a label"},
		{"label twice", `a{b="1",b="2"} 1`, "twice", "twice"},
		{"unclosed label", `a{b="c 1`, "no end", "no end"},
		{"unclosed escape", `a{b="c\`, "no end", "no end"},
		{"unclosed braces", `a{b="c" 1`, "no end", "no end"},
		{"label without value", `a{b} 1`, "no value", "no value"},
		{"no comma", `a{b="c"d="e"} 1`, "no end", "no end"},
		{"many labels", `a{` + strings.Repeat(`x="",`, 1) + manyLabels() + `} 1`, "more than 128 labels", "more than 128 labels"},
		{"ours", `shunt_proxy_state 7`, errOwnName.Error(), errOwnName.Error()},
		{"type of ours", `# TYPE shunt_proxy_state gauge`, errOwnName.Error(), errOwnName.Error()},
		{"web page", `<!DOCTYPE html>`, "no name", "no name"},
		{"not UTF-8", "a{b=\"\xff\"} 1", "no text in UTF-8", "no text in UTF-8"},
		{"zero byte", "a{b=\"\x00\"} 1", "no text in UTF-8", "no text in UTF-8"},
	} {
		for _, f := range []struct {
			format format
			end    string
			want   string
		}{{plain, "", tt.plain}, {openMetrics, "# EOF\n", tt.open}} {
			if tt.name == "tabs" && f.format == openMetrics {
				f.want = "there is no value"
			}
			got, err := check(strings.NewReader(tt.line+"\n"+f.end), f.format)
			switch {
			case f.want == "" && (err != nil || string(got) != tt.line+"\n"):
				t.Errorf("%s, %s: %q, %v", tt.name, f.format.contentType(), got, err)
			case f.want == "dropped" && (err != nil || len(got) > 0):
				t.Errorf("%s, %s: %q, %v; want nothing", tt.name, f.format.contentType(), got, err)
			case f.want != "" && f.want != "dropped" && (err == nil || !strings.Contains(err.Error(), f.want) || !strings.HasPrefix(err.Error(), "line 1: ")):
				t.Errorf("%s, %s: error %v, want %q", tt.name, f.format.contentType(), err, f.want)
			}
		}
	}
}

func manyLabels() string {
	var b strings.Builder
	for i := range maxLabels {
		b.WriteString("a" + strings.Repeat("b", i) + `="",`)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// An answer is taken whole or not at all.
func TestCheckAnswers(t *testing.T) {
	long := "a{b=\"" + strings.Repeat("c", maxLine) + "\"} 1\n"
	for _, tt := range []struct {
		name, answer string
		format       format
		want, err    string
	}{
		{"nothing", "", plain, "", ""},
		{"no line end", "a 1", plain, "a 1\n", ""},
		{"Windows", "a 1\r\nb 2\r\n", plain, "a 1\nb 2\n", ""},
		{"comments and blank lines go", "\n# hello\na 1\n\n", plain, "a 1\n", ""},
		{"end mark in the older format", "a 1\n# EOF\nb 2\n", plain, "a 1\nb 2\n", ""},
		{"bad after good", "a 1\nb two\n", plain, "", `line 2: the value is no number: "b two"`},
		{"long line", long, plain, "", "longer than 65536 bytes"},
		{"end mark goes", "a 1\n# EOF\n", openMetrics, "a 1\n", ""},
		{"end mark alone", "# EOF", openMetrics, "", ""},
		{"cut off", "a 1\n", openMetrics, "", "it was cut off"},
		{"after the end", "a 1\n# EOF\nb 2\n", openMetrics, "", `line 3: something follows "# EOF"`},
		{"two ends", "# EOF\n# EOF\n", openMetrics, "", "line 2: something follows"},
	} {
		got, err := check(strings.NewReader(tt.answer), tt.format)
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// Whatever the application answers, what is taken of it can stand behind the
// proxy's own: it is whole lines, none of them the proxy's, and stays as it is
// when it is read again.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"# HELP a b\n# TYPE a counter\na{b=\"c\"} 1 1700000000000\n",
		"# TYPE a counter\n# UNIT a_seconds seconds\na_total 1 # {t=\"x\"} 0.5 1.5\n# EOF\n",
		"a{b=\"\\\"}\"} NaN\r\n", "<html>", "shunt_proxy_state 1\n", "a\t{ } 1",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, answer string, open bool) {
		how := plain
		if open {
			how = openMetrics
		}
		got, err := check(strings.NewReader(answer), how)
		if err != nil {
			if got != nil {
				t.Fatalf("both %q and error %v", got, err)
			}
			return
		}
		text := string(got)
		if text != "" && !strings.HasSuffix(text, "\n") || strings.Contains(text, endMark+"\n") {
			t.Fatalf("%q can't stand before another line", text)
		}
		for line := range strings.Lines(text) {
			if bare := strings.TrimLeft(line, " \t"); bare == "\n" || strings.HasPrefix(bare, ownPrefix) {
				t.Fatalf("the line %q was kept", line)
			}
		}
		again, err := check(strings.NewReader(text+how.end()), how)
		if err != nil || string(again) != text {
			t.Fatalf("%q became %q, %v", text, again, err)
		}
	})
}

func TestTakesOpenMetrics(t *testing.T) {
	for accept, want := range map[string]bool{
		"":    false,
		"*/*": false,
		"text/plain;version=0.0.4;q=0.5,*/*;q=0.1":                            false,
		"application/openmetrics-text":                                        true,
		"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3":   true,
		"text/plain;q=0.3, Application/OpenMetrics-Text; version=1.0.0":       true,
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8":     true,
		"application/openmetrics-text;version=0.0.1":                          false,
		"application/openmetrics-text;version=2.0.0;q=0.6,text/plain;q=0.3":   false,
		"application/openmetrics-text;q=0":                                    false,
		"application/vnd.google.protobuf;proto=io.prometheus.client.X;q=0.7,": false,
		";;;,=": false,
	} {
		if got := takesOpenMetrics([]string{accept}); got != want {
			t.Errorf("Accept %q: %v", accept, got)
		}
	}
}
