// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"sort"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
)

// prefix of every annotation of ours.
const prefix = "shunt.dev/"

// everything as a value means all ports or all destinations.
const everything = "*"

// localInboundPorts are the pod's own ports that others call at the proxy
// itself: metrics, readiness, app probes. They are never redirected to it.
const localInboundPorts = "15090,15021,15020"

// annotation is one row of the table of what pods may say.
type annotation struct {
	key      string
	flag     string                             // of "redirect apply"; istio-iptables' letter
	unset    string                             // the flag's value when the pod says nothing
	base     string                             // put before what the pod says
	optional bool                               // the flag is left out when its value is empty
	parse    func(value string) (string, error) // value -> the flag's value, without spaces
}

// table holds every annotation of this package, in the order of the flags. A
// row is all that a new one of this kind needs.
func table() []annotation {
	return []annotation{
		{key: contract.AnnotationIncludeOutboundRanges, flag: "-i", unset: everything, parse: wildcard(cidrs)},
		{key: contract.AnnotationExcludeOutboundRanges, flag: "-x", parse: cidrs},
		{key: contract.AnnotationIncludeInboundPorts, flag: "-b", unset: everything, parse: wildcard(ports)},
		{key: contract.AnnotationExcludeInboundPorts, flag: "-d", base: localInboundPorts, parse: ports},
		{key: contract.AnnotationExcludeOutboundPorts, flag: "-o", optional: true, parse: ports},
		{key: contract.AnnotationIncludeOutboundPorts, flag: "-q", optional: true, parse: ports},
	}
}

// captureFlags returns the flags of "redirect apply" that the annotations
// decide, or an error that names the key, the value and what is allowed.
func captureFlags(annotations map[string]string) ([]string, error) {
	var flags []string
	for _, row := range table() {
		key, raw, set := lookup(annotations, row.key)
		value := row.unset
		if set {
			parsed, err := row.parse(raw)
			if err != nil {
				return nil, fmt.Errorf("read annotation %s: %w", key, err)
			}
			value = parsed
		}
		if value = join(row.base, value); value != "" || !row.optional {
			flags = append(flags, row.flag, value)
		}
	}
	return flags, nil
}

// lookup returns the key that was used and its value; our own key beats
// Istio's.
func lookup(annotations map[string]string, key string) (used, value string, set bool) {
	if value, set = annotations[key]; set {
		return key, value, true
	}
	alias := contract.IstioAlias(key)
	value, set = annotations[alias]
	return alias, value, set
}

func ports(value string) (string, error) {
	list, err := contract.ParsePorts(value)
	if err != nil {
		return "", err
	}
	texts := make([]string, 0, len(list))
	for _, r := range list {
		texts = append(texts, r.String())
	}
	return strings.Join(texts, ","), nil
}

func cidrs(value string) (string, error) {
	list, err := contract.ParseCIDRs(value)
	if err != nil {
		return "", err
	}
	texts := make([]string, 0, len(list))
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ","), nil
}

// wildcard also takes "*", alone.
func wildcard(parse func(string) (string, error)) func(string) (string, error) {
	return func(value string) (string, error) {
		if strings.TrimSpace(value) == everything {
			return everything, nil
		}
		out, err := parse(value)
		if err != nil {
			return "", fmt.Errorf(`%w; "*" alone means all`, err)
		}
		return out, nil
	}
}

func join(base, value string) string {
	if base == "" || value == "" {
		return base + value
	}
	return base + "," + value
}

// checkKnown refuses keys with our prefix that nothing reads. A slip in
// "exclude-inbound-ports" would otherwise redirect a port that its author
// believes to be excluded.
func checkKnown(annotations map[string]string) error {
	known := map[string]bool{contract.AnnotationStatus: true, contract.LabelInject: true}
	var names []string
	for _, row := range table() {
		known[row.key] = true
		names = append(names, row.key)
	}
	sort.Strings(names)
	unknown := ""
	for key := range annotations {
		if strings.HasPrefix(key, prefix) && !known[key] && (unknown == "" || key < unknown) {
			unknown = key
		}
	}
	if unknown == "" {
		return nil
	}
	return fmt.Errorf("read annotation %s: the key is unknown (did you mean %s? known: %s)",
		unknown, nearest(unknown, names), strings.Join(names, ", "))
}
