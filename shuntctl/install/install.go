// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/shuntmesh/shunt/shuntctl/images"
)

// Options say how to install.
type Options struct {
	Registry       images.Remote // where nodes pull our images from; an empty Registry means that they hold them
	SkipImageCheck bool
	// ImageWait is how long nodes may take to report images that were just
	// loaded into them.
	ImageWait time.Duration
	NoWait    bool // return when all is applied, not when it works
	Report    Report
	Progress  func(string) // one sentence a step
}

// Result tells what an installation or its removal did.
type Result struct {
	Version   string     `json:"version,omitempty"` // of the cluster
	Changes   []Change   `json:"changes"`
	Leftovers []Leftover `json:"leftovers,omitempty"` // workloads that keep a sidecar after a removal
}

// Install checks that the cluster can run Shunt, applies the manifests and
// waits until the control plane works. It changes nothing when a check fails,
// and nothing when all is installed already.
func (c *Cluster) Install(ctx context.Context, o Options) (*Result, error) {
	objects, err := Render(o.Registry.Registry)
	if err != nil {
		return nil, err
	}
	o.Progress("checking the cluster")
	version, err := c.CheckVersion()
	if err != nil {
		return nil, err
	}
	if err := c.CheckPermissions(ctx, objects, "get", "create", "patch"); err != nil {
		return nil, err
	}
	if err := c.checkImages(ctx, o, objects); err != nil {
		return nil, err
	}
	result := &Result{Version: version}
	if result.Changes, err = c.Apply(ctx, objects, o.Report); err != nil {
		return result, err
	}
	if o.NoWait {
		return result, nil
	}
	return result, c.Wait(ctx, objects, o.Progress)
}

// Uninstall removes all that Install made, the webhook configuration first, so
// that no pod is refused meanwhile. Pods that carry a sidecar keep it, and their
// traffic; the result names them.
func (c *Cluster) Uninstall(ctx context.Context, o Options) (*Result, error) {
	objects, err := Render("")
	if err != nil {
		return nil, err
	}
	o.Progress("checking the cluster")
	if err := c.CheckPermissions(ctx, objects, "get", "delete"); err != nil {
		return nil, err
	}
	result := &Result{}
	if result.Leftovers, err = c.Leftovers(ctx); err != nil {
		return nil, err
	}
	result.Changes, err = c.Delete(ctx, objects, o)
	return result, err
}

func (c *Cluster) checkImages(ctx context.Context, o Options, objects []*unstructured.Unstructured) error {
	if o.SkipImageCheck {
		return nil
	}
	refs := Images(objects, o.Registry.Registry)
	if o.Registry.Registry == "" {
		return c.awaitNodeImages(ctx, o, refs)
	}
	return checkRegistry(ctx, o, refs)
}

// checkRegistry refuses images that the registry says it has not. A registry
// that doesn't answer us may well answer the nodes, so that is only told.
func checkRegistry(ctx context.Context, o Options, refs []string) error {
	for _, ref := range refs {
		_, err := o.Registry.Head(ctx, ref)
		var answer *transport.Error
		switch {
		case err == nil:
		case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
			return fmt.Errorf("registry %s has no %s, so nothing was installed (run: shuntctl images push --image-registry %s)",
				o.Registry.Registry, ref, o.Registry.Registry)
		case ctx.Err() != nil:
			return err
		default:
			o.Progress(fmt.Sprintf("can't see from here whether nodes can pull %s (%v)", ref, err))
		}
	}
	return nil
}
