// SPDX-License-Identifier: Apache-2.0

package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Host is the rules of a set of authorities: an xDS virtual host.
type Host struct {
	// Domains are matched without regard to case, as in xDS: a name, a
	// suffix wildcard "*.example.com", a prefix wildcard "example.*", or "*".
	Domains []string
	Rules   []Rule
}

// Rule sends matching requests along a Route. Empty fields match everything.
type Rule struct {
	Path   string // the whole path, without the query
	Prefix string // its beginning
	Method string
	Route  Route
}

// Table is the immutable list of one service's routes. The zero Table and a
// nil one match nothing.
type Table struct {
	domains []domain // most specific first
}

type domain struct {
	kind  domainKind
	text  string // lower case, without the wildcard
	rules []Rule
}

// domainKind is ordered by precedence (xDS: config.route.v3.VirtualHost).
type domainKind int

const (
	exactDomain domainKind = iota
	suffixDomain
	prefixDomain
	anyDomain
)

// NewTable builds a table. The most specific domain decides for a request, and
// in it the first rule that matches; other hosts are then not looked at. An
// error names a domain that is malformed or given twice.
func NewTable(hosts ...Host) (*Table, error) {
	t := &Table{}
	seen := map[string]bool{}
	for _, h := range hosts {
		for _, name := range h.Domains {
			d, err := parseDomain(name)
			if err != nil {
				return nil, err
			}
			key := strings.ToLower(name)
			if seen[key] {
				return nil, fmt.Errorf("domain %q is given twice (a domain belongs to one host)", name)
			}
			seen[key] = true
			d.rules = slices.Clone(h.Rules)
			t.domains = append(t.domains, d)
		}
	}
	slices.SortStableFunc(t.domains, func(a, b domain) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(len(b.text), len(a.text)))
	})
	return t, nil
}

// ToCluster returns the table that most services have: everything goes to one
// cluster.
func ToCluster(name string) *Table {
	rules := []Rule{{Prefix: "/", Route: Route{Name: "default", Cluster: name}}}
	return &Table{domains: []domain{{kind: anyDomain, rules: rules}}}
}

// Match returns the route of a request; false means that the table has none.
// The port in an authority is not looked at: the service was decided before.
// It does not allocate.
func (t *Table) Match(r Request) (Route, bool) {
	if t == nil {
		return Route{}, false
	}
	host := hostname(r.Authority)
	for i := range t.domains {
		if t.domains[i].matches(host) {
			return firstRule(t.domains[i].rules, r)
		}
	}
	return Route{}, false
}

func firstRule(rules []Rule, r Request) (Route, bool) {
	path, _, _ := strings.Cut(r.Path, "?")
	for i := range rules {
		if rules[i].matches(path, r.Method) {
			return rules[i].Route, true
		}
	}
	return Route{}, false
}

// matches takes the path without its query. "OPTIONS *" and CONNECT have no
// path that begins with a slash; the prefix "/" is every request's all the same.
func (r *Rule) matches(path, method string) bool {
	if r.Method != "" && r.Method != method {
		return false
	}
	if r.Path != "" && r.Path != path {
		return false
	}
	return r.Prefix == "" || r.Prefix == "/" || strings.HasPrefix(path, r.Prefix)
}

func (d *domain) matches(host string) bool {
	n := len(d.text)
	switch d.kind {
	case exactDomain:
		return strings.EqualFold(host, d.text)
	case suffixDomain:
		return len(host) > n && strings.EqualFold(host[len(host)-n:], d.text)
	case prefixDomain:
		return len(host) > n && strings.EqualFold(host[:n], d.text)
	default:
		return true
	}
}

func parseDomain(name string) (domain, error) {
	text := strings.ToLower(name)
	switch {
	case text == "*":
		return domain{kind: anyDomain}, nil
	case text == "" || strings.Count(text, "*") > 1:
		return domain{}, fmt.Errorf("domain %q is malformed (allowed: a name, *.name, name.* or *)", name)
	case strings.HasPrefix(text, "*"):
		return domain{kind: suffixDomain, text: text[1:]}, nil
	case strings.HasSuffix(text, "*"):
		return domain{kind: prefixDomain, text: text[:len(text)-1]}, nil
	case strings.Contains(text, "*"):
		return domain{}, fmt.Errorf("domain %q has its wildcard inside (allowed: a name, *.name, name.* or *)", name)
	default:
		return domain{kind: exactDomain, text: hostname(text)}, nil
	}
}

// hostname is the authority without a port. An IPv6 literal keeps its brackets.
func hostname(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority
	}
	if strings.Count(authority, ":") > 1 && authority[0] != '[' {
		return authority // a bare IPv6 address, no port
	}
	return authority[:i]
}
