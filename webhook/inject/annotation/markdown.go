// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"fmt"
	"strings"
)

// Markdown returns the tables of the documentation.
func Markdown() string {
	var out strings.Builder
	for _, g := range new(Settings).table() {
		fmt.Fprintf(&out, "\n## %s\n\n| annotation | default | allowed | meaning |\n|---|---|---|---|\n", g.title)
		for _, r := range g.rows {
			doc := r.doc
			if len(r.aliases) > 0 {
				doc += " Istio: `" + strings.Join(r.aliases, "`, `") + "`."
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", r.key, r.unset, r.allowed, doc)
		}
	}
	return out.String()
}
