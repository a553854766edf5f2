// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestParseScrape(t *testing.T) {
	for _, tt := range []struct {
		text string
		want contract.Scrape
		err  string
	}{
		{text: ""},
		{text: "8080/metrics", want: contract.Scrape{Port: 8080, Path: "/metrics"}},
		{text: "1/", want: contract.Scrape{Port: 1, Path: "/"}},
		{text: "65535/a/b?format=prometheus&x=%20", want: contract.Scrape{Port: 65535, Path: "/a/b?format=prometheus&x=%20"}},
		{text: "8080", err: "the path is not possible (allowed: "},
		{text: "/metrics", err: "the port is not possible (allowed: "},
		{text: "0/metrics", err: "the port is not possible (allowed: "},
		{text: "65536/metrics", err: "the port is not possible (allowed: "},
		{text: "+80/metrics", err: "the port is not possible (allowed: "},
		{text: "15020/stats/prometheus", err: "port 15020 is the proxy's (allowed: ports other than"},
		{text: "15090/metrics", err: "the proxy's"},
		{text: "80/a b", err: "the path is not possible"},
		{text: "80/a\r\nX: y", err: "the path is not possible"},
		{text: "80/%zz", err: "the path is not possible"},
		{text: "80/#part", err: "the path is not possible"},
		{text: "80/" + strings.Repeat("a", 1024), err: "the path is not possible"},
	} {
		got, err := contract.ParseScrape(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %+v, %v; want %+v, %q", tt.text, got, err, tt.want, tt.err)
		}
		if err == nil && got.String() != tt.text {
			t.Errorf("%q: comes back as %q", tt.text, got)
		}
	}
}
