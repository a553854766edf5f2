// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/contract"
)

// maxResponse bounds a response in bytes. grpc-go takes a buffer of 1 MiB for
// any message above 32 KiB; a thousand first pushes at a time would take 1 GiB.
// A resource that is larger by itself travels alone.
const maxResponse = 30 << 10

// absent is the version of what the stream was told not to exist. No content
// hash is like it.
const absent = "-"

func (c *collection) version(name string) string {
	if r := c.resources[name]; r != nil {
		return r.GetVersion()
	}
	return absent
}

// due lists those of the names whose present version the stream does not have.
func (c *collection) due(w *watch, names []string) []string {
	returned := w.sub.ReturnedResources()
	var out []string
	for _, name := range names {
		if returned[name] != c.version(name) && !c.unheardOf(w, name) {
			out = append(out, name)
		}
	}
	return out
}

// unheardOf is what came and went before a stream with a wildcard was told of it.
func (c *collection) unheardOf(w *watch, name string) bool {
	_, returned := w.sub.ReturnedResources()[name]
	return w.sub.IsWildcard() && !returned && c.resources[name] == nil
}

// asksForAll is whether the request itself subscribes by wildcard.
func (w *watch) asksForAll() bool {
	return slices.Contains(w.request.GetResourceNamesSubscribe(), contract.Wildcard)
}

// dueAtFirst lists what is owed when a request arrives. What the request itself
// subscribes to is owed in any case, as the protocol demands of a repeated
// subscription: go-control-plane's record of what the stream has may be of
// before an unsubscription that crossed a response. Only versions that the
// request itself names as known are trusted.
func (c *collection) dueAtFirst(w *watch) []string {
	if w.sub.IsWildcard() {
		return c.dueOfAll(w)
	}
	asked := map[string]bool{}
	for _, name := range w.request.GetResourceNamesSubscribe() {
		asked[name] = w.request.GetInitialResourceVersions()[name] != c.version(name)
	}
	returned := w.sub.ReturnedResources()
	var out []string
	for name := range w.sub.SubscribedResources() {
		if asked[name] || returned[name] != c.version(name) {
			out = append(out, name)
		}
	}
	return out
}

// dueOfAll lists what a stream with a wildcard lacks, and what it has that is gone.
func (c *collection) dueOfAll(w *watch) []string {
	returned := w.sub.ReturnedResources()
	var out []string
	for name := range c.resources {
		if returned[name] != c.version(name) {
			out = append(out, name)
		}
	}
	for name := range returned {
		if c.resources[name] == nil {
			out = append(out, name)
		}
	}
	return out
}

// response builds one message of at most maxResponse bytes, and the versions
// that the stream has after it. What has no room stays due.
func (c *collection) response(w *watch, due []string) (*discoveryv3.DeltaDiscoveryResponse, map[string]string) {
	slices.Sort(due)
	versions := w.versions()
	msg := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: w.request.GetTypeUrl()}
	size := 0
	for _, name := range due {
		r := c.resources[name]
		cost := len(name) + 4 // tag and length
		if r != nil {
			cost = proto.Size(r) + 4
		}
		if size > 0 && size+cost > maxResponse {
			postpone(w, msg, versions, name)
			continue
		}
		size += cost
		versions[name] = c.version(name)
		if r != nil {
			msg.Resources = append(msg.Resources, r)
			continue
		}
		msg.RemovedResources = append(msg.RemovedResources, name)
		if w.sub.IsWildcard() {
			delete(versions, name) // nobody asked for it by name
		}
	}
	return msg, versions
}

// postpone leaves a name due. Of a wildcard's, the stream keeps the version that
// it has: a removal must stay due as well.
func postpone(w *watch, msg *discoveryv3.DeltaDiscoveryResponse, versions map[string]string, name string) {
	if w.sub.IsWildcard() {
		msg.SystemVersionInfo = contract.PartialResponse
		return
	}
	delete(versions, name)
}
