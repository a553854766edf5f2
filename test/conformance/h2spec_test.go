// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"encoding/xml"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// TestH2Spec runs all of h2spec, strictly, against both listeners.
func TestH2Spec(t *testing.T) {
	app := application(t)
	inbound := sidecartest.Start(t, func(o *proxy.Options) { o.Origin = sidecartest.Origin{Destination: app} }).Inbound
	outbound := sidecartest.Start(t, func(o *proxy.Options) {
		o.Origin, o.Resolver = sidecartest.Origin{Destination: sidecartest.VIP()}, sidecartest.ServiceAt(app)
	}).Outbound
	var sum counts
	for name, listener := range map[string]netip.AddrPort{"inbound": inbound, "outbound": outbound} {
		t.Run(name, func(t *testing.T) { sum.add(h2Spec(t, listener)) })
	}
	fmt.Printf("FIGURE h2spec.passed %d cases\n", sum.tests-sum.failed-sum.skipped)
	fmt.Printf("FIGURE h2spec.failed %d cases\n", sum.failed)
	fmt.Printf("FIGURE h2spec.skipped %d cases\n", sum.skipped)
	if sum.failed+sum.skipped > 0 || sum.tests < 2*140 {
		t.Errorf("of %d cases %d failed and %d were skipped", sum.tests, sum.failed, sum.skipped)
	}
}

type counts struct{ tests, failed, skipped int }

func (c *counts) add(o counts) {
	c.tests += o.tests
	c.failed += o.failed
	c.skipped += o.skipped
}

// report is what h2spec writes for JUnit.
type report struct {
	Suites []struct {
		Cases []struct {
			Package string `xml:"package,attr"`
			Name    string `xml:"classname,attr"`
			Failure *struct {
				Text string `xml:",innerxml"`
			} `xml:"failure"`
			Error *struct {
				Text string `xml:",innerxml"`
			} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func h2Spec(t *testing.T, listener netip.AddrPort) (sum counts) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.xml")
	_, err := h2spec.Run(&config.Config{
		Host: listener.Addr().String(), Port: int(listener.Port()), Path: "/",
		Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true, JUnitReport: path,
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, suite := range r.Suites {
		for _, c := range suite.Cases {
			sum.tests++
			if c.Skipped != nil {
				sum.skipped++
				t.Logf("skipped: %s: %s", c.Package, c.Name)
			}
			for _, failure := range []*struct {
				Text string `xml:",innerxml"`
			}{c.Failure, c.Error} {
				if failure != nil {
					sum.failed++
					t.Logf("failed: %s: %s: %s", c.Package, c.Name, failure.Text)
				}
			}
		}
	}
	return sum
}
