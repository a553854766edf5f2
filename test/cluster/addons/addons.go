// SPDX-License-Identifier: Apache-2.0

// Package addons holds what a cluster runs inside itself from the start: DNS.
package addons

import (
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

//go:embed manifests
var manifests embed.FS

// DNS returns the manifest of the DNS server.
func DNS() (string, error) {
	form, err := template.ParseFS(manifests, "manifests/coredns.yaml")
	if err != nil {
		return "", fmt.Errorf("read the manifest of the DNS server: %w", err)
	}
	var text strings.Builder
	err = form.Execute(&text, map[string]string{
		"Image": layout.CoreDNSImage, "Address": layout.DNSService.String(), "Domain": layout.DNSDomain,
	})
	if err != nil {
		return "", fmt.Errorf("fill the manifest of the DNS server: %w", err)
	}
	return text.String(), nil
}
