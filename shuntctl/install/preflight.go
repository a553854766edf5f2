// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// minMinor is the oldest Kubernetes 1.x that starts native sidecars without a
// feature gate of one's own (KEP-753: beta in 1.29, stable in 1.33).
const minMinor = 29

// CheckVersion refuses an API server that has no native sidecars, and returns
// the version of one that has.
func (c *Cluster) CheckVersion() (string, error) {
	v, err := c.Version.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("reach the cluster at %s: %w (is it up, and is the kubeconfig its own?)", c.Host, err)
	}
	major, errMajor := strconv.Atoi(v.Major)
	// Providers write a minor version such as "29+".
	minor, errMinor := strconv.Atoi(strings.TrimRight(v.Minor, "+"))
	if err := errors.Join(errMajor, errMinor); err != nil {
		return "", fmt.Errorf("read the cluster's version %q: %w", v.GitVersion, err)
	}
	if major < 1 || major == 1 && minor < minMinor {
		return "", fmt.Errorf("the cluster runs Kubernetes %s, and Shunt needs 1.%d or newer for native sidecars (upgrade the cluster)", v.GitVersion, minMinor)
	}
	return v.GitVersion, nil
}

// maxDenied is how many missing permissions an error names: who may do nothing
// at all needs no list.
const maxDenied = 4

// CheckPermissions asks the API server whether we may use the verbs on every
// kind of the objects, and names what is missing.
func (c *Cluster) CheckPermissions(ctx context.Context, objects []*unstructured.Unstructured, verbs ...string) error {
	var denied []string
	for _, a := range access(objects, verbs) {
		allowed, err := c.allowed(ctx, a)
		if err != nil {
			return fmt.Errorf("ask for permissions: %w", err)
		}
		if !allowed {
			denied = append(denied, a.Verb+" "+resourceName(a))
		}
	}
	if more := len(denied) - maxDenied; more > 0 {
		denied = append(denied[:maxDenied], fmt.Sprintf("and %d more", more))
	}
	if len(denied) > 0 {
		return fmt.Errorf("your user may not %s (use a context of a cluster administrator)", strings.Join(denied, ", "))
	}
	return nil
}

func (c *Cluster) allowed(ctx context.Context, a authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec:     authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a},
	}
	body, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		return false, fmt.Errorf("encode access review: %w", err)
	}
	gvr := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
	answer, err := c.Client.Resource(gvr).Create(ctx, &unstructured.Unstructured{Object: body}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}

// access lists each kind of the objects once with each verb, in their order.
func access(objects []*unstructured.Unstructured, verbs []string) []authorizationv1.ResourceAttributes {
	var out []authorizationv1.ResourceAttributes
	for _, o := range objects {
		gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		for _, verb := range verbs {
			a := authorizationv1.ResourceAttributes{Namespace: o.GetNamespace(), Verb: verb, Group: gvr.Group, Version: gvr.Version, Resource: gvr.Resource}
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

func resourceName(a authorizationv1.ResourceAttributes) string {
	name := a.Resource
	if a.Group != "" {
		name += "." + a.Group
	}
	if a.Namespace != "" {
		name += " in " + a.Namespace
	}
	return name
}
