// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// The annotations by which scrapers find a pod's metrics: a convention of
// Prometheus' examples, which many clusters follow.
const (
	annotationScrape       = "prometheus.io/scrape"
	annotationScrapePort   = "prometheus.io/port"
	annotationScrapePath   = "prometheus.io/path"
	annotationScrapeScheme = "prometheus.io/scheme"
)

// merge is what a pod gets whose metrics are to be served with the proxy's
// (docs/adr/0007-metrics.md). The zero value merges nothing.
type merge struct {
	on  bool
	app contract.Scrape // where the application has them; none: it has none
}

// mergeOf reads where the application has its metrics. Like a scraper it takes
// the port that the pod declares, when none is named; more than one would have
// to be asked for all.
func mergeOf(pod *corev1.Pod, f form) (merge, error) {
	says := pod.Annotations
	if !f.MergeMetrics || says[annotationScrape] == "false" {
		return merge{}, nil
	}
	if scheme := cmp.Or(says[annotationScrapeScheme], "http"); scheme != "http" {
		return merge{}, refuse(BadAnnotation, "merge metrics: annotation %s is %q (allowed: http, or %s: \"false\")",
			annotationScrapeScheme, scheme, contract.AnnotationMergeMetrics)
	}
	port, named := says[annotationScrapePort]
	switch {
	case named:
	case says[annotationScrape] != "true":
		return merge{on: true}, nil
	default:
		var err error
		if port, err = onlyPort(pod); err != nil {
			return merge{}, err
		}
	}
	path := cmp.Or(says[annotationScrapePath], "/metrics")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	app, err := contract.ParseScrape(port + path)
	if err != nil || app.Port == 0 {
		return merge{}, refuse(BadAnnotation, "merge metrics: read annotations %s and %s: %w", annotationScrapePort, annotationScrapePath, err)
	}
	return merge{true, app}, nil
}

// onlyPort is the one TCP port that the pod's application declares.
func onlyPort(pod *corev1.Pod) (string, error) {
	var ports []string
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			text := strconv.Itoa(int(p.ContainerPort))
			if c.Name != contract.ProxyContainer && cmp.Or(p.Protocol, corev1.ProtocolTCP) == corev1.ProtocolTCP && !slices.Contains(ports, text) {
				ports = append(ports, text)
			}
		}
	}
	if len(ports) == 1 {
		return ports[0], nil
	}
	return "", refuse(BadAnnotation, "merge metrics: annotation %s is \"true\" and %s is missing, and the pod declares %d TCP ports (allowed: one declared port, or the annotation with the port of the metrics)",
		annotationScrape, annotationScrapePort, len(ports))
}

// flags are for the proxy.
func (m merge) flags() []string {
	if !m.on {
		return nil
	}
	flags := []string{"--merged-metrics-listen", net.JoinHostPort("", strconv.Itoa(contract.PortAppMetrics))}
	if m.app.Port != 0 {
		flags = append(flags, "--app-metrics", m.app.String())
	}
	return flags
}

// annotate sends scrapers to the proxy. What the pod said is kept in its status.
func (m merge) annotate(pod *corev1.Pod, values map[string]string, s *Status) {
	if !m.on {
		return
	}
	wanted := map[string]string{
		annotationScrape:     "true",
		annotationScrapePort: strconv.Itoa(contract.PortAppMetrics),
		annotationScrapePath: contract.PathMergedMetrics,
	}
	for _, key := range sortedKeys(wanted) {
		values[key] = wanted[key]
		was, set := pod.Annotations[key]
		if !set {
			s.Annotations = append(s.Annotations, key)
			continue
		}
		if s.Replaced == nil {
			s.Replaced = make(map[string]string)
		}
		s.Replaced[key] = was
	}
}

// restoreReplaced gives annotations back the values that they had.
func restoreReplaced(s Status) (steps []Operation) {
	for _, key := range sortedKeys(s.Replaced) {
		steps = append(steps, add(fmt.Sprintf("/metadata/annotations/%s", escape(key)), s.Replaced[key]))
	}
	return steps
}
