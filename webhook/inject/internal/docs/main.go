// SPDX-License-Identifier: Apache-2.0

// Command docs writes the pages of the documentation that come from the code:
// the table of annotations, and the list of pod features with their golden
// files. go generate runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/webhook/inject/annotation"
)

func main() {
	goldens := flag.String("goldens", "testdata", "`folder` of the golden files")
	out := flag.String("out", "", "`folder` of the documentation")
	flag.Parse()
	if err := write(*goldens, *out); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func write(goldens, out string) error {
	if err := os.WriteFile(filepath.Join(out, "annotations.md"), []byte(annotationsIntro+annotation.Markdown()), 0o644); err != nil {
		return fmt.Errorf("write annotations: %w", err)
	}
	features, err := readFeatures(goldens)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "pod-features.md"), []byte(featuresPage(features)), 0o644); err != nil {
		return fmt.Errorf("write pod features: %w", err)
	}
	return nil
}

const annotationsIntro = `<!-- Written by go generate from webhook/inject/annotation; change it there. -->

# Annotations

On a pod, they hold for the pod; on its namespace, for every pod of it that doesn't say otherwise. The pod's beat the
namespace's. Where one has a word of Istio's, that is read too, in the same places; ours beats it.

Lists of ports and addresses replace what the namespace says, or add to it when they begin with ` + "`+`" + `:
` + "`shunt.dev/exclude-outbound-ports: \"+6379\"`" + `. A ` + "`=`" + ` in front says in so many words that the list replaces. Spaces
around entries are allowed, and the empty list is none.

A value that can't be, and a key under ` + "`shunt.dev/`" + ` that is not in these tables, is refused when the pod is created, with
the key, the value and what is allowed. Annotations of Istio's that mean nothing to Shunt's proxy get a warning; those
under ` + "`traffic.sidecar.istio.io/`" + ` that Shunt can't do are refused, since traffic would be captured that its author
believes to be left alone.

Two more are in another place: the label ` + "`shunt.dev/inject`" + ` (` + "`enabled`, `disabled`" + `) says whether a pod gets the proxy, and
the webhook writes what it did into ` + "`shunt.dev/status`" + `. As an annotation, ` + "`shunt.dev/inject: disabled`" + ` keeps the proxy away
too; ` + "`enabled`" + ` can't bring it, since the API server calls the webhook by labels alone. On a Service there is one,
` + "`shunt.dev/balance`" + ` (docs/connect-balancing.md).

A container of your own named ` + "`shunt-proxy`" + ` is merged with the proxy's, field by field, and yours win: an image of ` + "`auto`" + `
means ours. It must not change uid and gid, by which the redirection knows the proxy's traffic.
`

// feature is one golden file: what it shows, in its first line.
type feature struct{ group, words, file string }

func readFeatures(folder string) ([]feature, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list golden files: %w", err)
	}
	var out []feature
	for _, path := range paths {
		if strings.HasSuffix(path, ".injected.yaml") {
			continue
		}
		f, err := readFeature(path)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func readFeature(path string) (feature, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return feature{}, fmt.Errorf("read golden file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words, isComment := strings.CutPrefix(line, "# ")
	group, words, hasGroup := strings.Cut(words, ": ")
	if !isComment || !hasGroup || !strings.HasSuffix(words, ".") {
		return feature{}, fmt.Errorf("read %s: its first line is %q (write: # <group>: <what it shows, as a sentence>)", path, line)
	}
	return feature{group, strings.ToUpper(words[:1]) + words[1:], strings.TrimSuffix(filepath.Base(path), ".yaml")}, nil
}

func featuresPage(features []feature) string {
	slices.SortStableFunc(features, func(a, b feature) int { return strings.Compare(a.group, b.group) })
	var out strings.Builder
	out.WriteString(`<!-- Written by go generate from the first lines of webhook/inject/testdata; change them there. -->

# Pod features

What a pod can have, and what becomes of it when it is injected. Each name is that of a pair of files in
` + "`webhook/inject/testdata`" + `: the pod that comes, and what goes to the API server, or why it is left alone or refused.
`)
	fmt.Fprintf(&out, "There are %d.\n", len(features))
	group := ""
	for _, f := range features {
		if f.group != group {
			group = f.group
			fmt.Fprintf(&out, "\n## %s\n\n", group)
		}
		fmt.Fprintf(&out, "- `%s`: %s\n", f.file, f.words)
	}
	return out.String()
}
