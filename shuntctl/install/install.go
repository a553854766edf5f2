// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/shuntmesh/shunt/shuntctl/images"
)

// Options say how to install.
type Options struct {
	Registry       images.Remote // where nodes pull our images from; an empty Registry means that they hold them
	Capture        string        // one of Captures; "" is what the cluster has, and the first where it has nothing
	SkipImageCheck bool
	// ImageWait is how long nodes may take to report images that were just
	// loaded into them.
	ImageWait   time.Duration
	RemoveRules bool // of Uninstall: running pods that their nodes capture are let go
	// AgentWait is how long the nodes' agents may take to clean up; 0 is
	// DefaultAgentWait.
	AgentWait time.Duration
	NoWait    bool // return when all is applied, not when it works
	Report    Report
	Progress  func(string) // one sentence a step
}

// Result tells what an installation or its removal did.
type Result struct {
	Version   string     `json:"version,omitempty"` // of the cluster
	Capture   string     `json:"capture,omitempty"` // of pods that are created from now on
	Was       string     `json:"was,omitempty"`     // the capture before, where it is another
	Changes   []Change   `json:"changes"`
	Leftovers []Leftover `json:"leftovers,omitempty"` // workloads that keep a sidecar after a removal
	ByNode    []Leftover `json:"byNode,omitempty"`    // workloads that nodes capture, although new pods are captured otherwise
	Silent    []string   `json:"silent,omitempty"`    // nodes whose agents did not say that they have cleaned up
}

// Install checks that the cluster can run Shunt, applies the manifests and
// waits until the control plane works, and the agents of the nodes where they
// capture. It changes nothing when a check fails, and nothing when all is
// installed already.
func (c *Cluster) Install(ctx context.Context, o Options) (*Result, error) {
	o.Progress("checking the cluster")
	version, err := c.CheckVersion()
	if err != nil {
		return nil, err
	}
	was, err := c.present(ctx)
	if err != nil {
		return nil, err
	}
	result := &Result{Version: version}
	form, err := c.form(ctx, was, o, result)
	if err != nil {
		return nil, err
	}
	objects, err := Render(form)
	if err != nil {
		return nil, err
	}
	if err := c.CheckPermissions(ctx, objects, "get", "create", "patch"); err != nil {
		return nil, err
	}
	if err := c.checkImages(ctx, o, objects); err != nil {
		return nil, err
	}
	if err := c.bring(ctx, objects, o, result); err != nil {
		return result, err
	}
	if was.node && !form.Node {
		return result, c.dropNode(ctx, o, result)
	}
	return result, nil
}

// form decides what to install, and tells the result.
func (c *Cluster) form(ctx context.Context, was present, o Options, result *Result) (Form, error) {
	var captured []Leftover
	if was.node {
		var err error
		if captured, err = c.capturedByNodes(ctx); err != nil {
			return Form{}, err
		}
	}
	form := was.choose(o, captured)
	result.Capture = form.Capture
	if was.capture != "" && was.capture != form.Capture {
		result.Was = was.capture
	}
	if !byNode(form.Capture) {
		result.ByNode = captured
	}
	return form, nil
}

// bring applies the nodes' part and waits for it before the rest: the webhook
// then makes pods that need it.
func (c *Cluster) bring(ctx context.Context, objects []*unstructured.Unstructured, o Options, result *Result) error {
	behind := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return rank(o) > 1 })
	for _, some := range [][]*unstructured.Unstructured{objects[:behind], objects[behind:]} {
		changes, err := c.Apply(ctx, some, o.Report)
		result.Changes = append(result.Changes, changes...)
		if err != nil {
			return err
		}
		if set, _ := split(some, "DaemonSet"); len(set) > 0 {
			if err := c.takeBack(ctx, set[0]); err != nil {
				return err
			}
			if !o.NoWait {
				if err := c.waitAgents(ctx, o.Progress); err != nil {
					return err
				}
			}
		}
	}
	if o.NoWait {
		return nil
	}
	return c.Wait(ctx, objects, o.Progress)
}

// dropNode takes out the nodes' part of a mesh that no longer needs it.
func (c *Cluster) dropNode(ctx context.Context, o Options, result *Result) error {
	all, err := Render(Form{Capture: CaptureCNI})
	if err != nil {
		return err
	}
	changes, silent, err := c.removeNode(ctx, slices.DeleteFunc(all, func(o *unstructured.Unstructured) bool { return !onNode(o) }), o)
	result.Changes, result.Silent = append(result.Changes, changes...), silent
	return err
}

// Uninstall removes all that Install made, the webhook configuration first, so
// that no pod is refused meanwhile, then what is on the nodes. Pods that carry a
// sidecar keep it, and their traffic; the result names them.
func (c *Cluster) Uninstall(ctx context.Context, o Options) (*Result, error) {
	objects, err := Render(Form{Capture: CaptureCNI})
	if err != nil {
		return nil, err
	}
	o.Progress("checking the cluster")
	if err := c.CheckPermissions(ctx, objects, "get", "delete"); err != nil {
		return nil, err
	}
	was, err := c.present(ctx)
	if err != nil {
		return nil, err
	}
	result := &Result{}
	if result.Leftovers, err = c.Leftovers(ctx); err != nil {
		return nil, err
	}
	rest := objects
	if was.node {
		registrations, others := split(objects, "MutatingWebhookConfiguration")
		if result.Changes, err = c.Delete(ctx, registrations, o); err != nil {
			return result, err
		}
		if err := c.dropNode(ctx, o, result); err != nil {
			return result, err
		}
		rest = slices.DeleteFunc(others, onNode)
	}
	changes, err := c.Delete(ctx, rest, o)
	result.Changes = append(result.Changes, changes...)
	return result, err
}

func (c *Cluster) checkImages(ctx context.Context, o Options, objects []*unstructured.Unstructured) error {
	if o.SkipImageCheck {
		return nil
	}
	refs := Images(objects, o.Registry.Registry)
	if o.Registry.Registry == "" {
		sets, _ := split(objects, "DaemonSet")
		return c.awaitNodeImages(ctx, o, Needs{refs, Images(sets, "")})
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
