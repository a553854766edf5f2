// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxNodeImages is how many images a kubelet reports, the largest first
// (--node-status-max-images): a node with so many may hold more.
const maxNodeImages = 50

// MissingImages says what one node lacks.
type MissingImages struct {
	Node   string
	Images []string
	Capped bool // the node reports as many images as it may, so it may hold them all the same
}

// Needs are the images that nodes have to hold.
type Needs struct {
	Schedulable []string // where pods can be scheduled to
	Every       []string // on the others too: a DaemonSet of ours tolerates every taint
}

func (n Needs) of(node corev1.Node) []string {
	if schedulable(node) {
		return n.Schedulable
	}
	return n.Every
}

// CheckNodeImages refuses when a node doesn't hold the images that it needs,
// since no registry has them.
func (c *Cluster) CheckNodeImages(ctx context.Context, needs Needs) error {
	nodes, err := list[corev1.Node](ctx, c, core("nodes"))
	if err != nil {
		return fmt.Errorf("look for our images on the nodes: %w (or leave this check out with --skip-image-check)", err)
	}
	if missing := FindMissing(nodes, needs); len(missing) > 0 {
		return &ImagesError{Missing: missing}
	}
	return nil
}

// DefaultImageWait covers a kubelet's own pace: it looks for new images every
// 30 s and reports what changed every 10 s.
const DefaultImageWait = 45 * time.Second

// awaitNodeImages gives nodes o.ImageWait to report the images.
func (c *Cluster) awaitNodeImages(ctx context.Context, o Options, needs Needs) error {
	end := time.Now().Add(o.ImageWait)
	for told := false; ; told = true {
		err := c.CheckNodeImages(ctx, needs)
		var missing *ImagesError
		if !errors.As(err, &missing) || !time.Now().Before(end) {
			return err
		}
		if !told {
			o.Progress(fmt.Sprintf("waiting up to %s for nodes to report Shunt's images (a kubelet tells of new ones late)", o.ImageWait))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// FindMissing returns the nodes that don't report all images that they need.
func FindMissing(nodes []corev1.Node, needs Needs) []MissingImages {
	var out []MissingImages
	for _, n := range nodes {
		var held []string
		for _, img := range n.Status.Images {
			held = append(held, img.Names...)
		}
		m := MissingImages{Node: n.Name, Capped: len(n.Status.Images) >= maxNodeImages}
		for _, ref := range needs.of(n) {
			if !slices.Contains(held, ref) {
				m.Images = append(m.Images, ref)
			}
		}
		if len(m.Images) > 0 {
			out = append(out, m)
		}
	}
	return out
}

// schedulable is false for a node that ordinary pods can't come to.
func schedulable(n corev1.Node) bool {
	return !n.Spec.Unschedulable && !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	})
}

// ImagesError refuses an installation whose pods could not start.
type ImagesError struct {
	Missing []MissingImages
}

// Error names the nodes and images, and both ways out.
func (e *ImagesError) Error() string {
	var b strings.Builder
	b.WriteString("some nodes can't get Shunt's images, so nothing was installed:\n")
	capped := false
	for _, m := range e.Missing {
		fmt.Fprintf(&b, "  node %s has no %s\n", m.Node, strings.Join(m.Images, ", "))
		capped = capped || m.Capped
	}
	if capped {
		fmt.Fprintf(&b, "A kubelet reports its %d largest images only, and one of these nodes reports as many: if it holds ours, use --skip-image-check.\n", maxNodeImages)
	}
	b.WriteString("No public registry has these images. Do one of these, then install again:\n" +
		"  shuntctl images save         and load the tarballs on every node: ctr -n k8s.io images import FILE\n" +
		"  shuntctl images push --image-registry R    and install with the same --image-registry R")
	return b.String()
}
