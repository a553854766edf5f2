// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
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
		if returned[name] != c.version(name) {
			out = append(out, name)
		}
	}
	return out
}

// dueAtFirst lists what is owed when a request arrives. What the request itself
// subscribes to is owed in any case, as the protocol demands of a repeated
// subscription: go-control-plane's record of what the stream has may be of
// before an unsubscription that crossed a response. Only versions that the
// request itself names as known are trusted.
func (c *collection) dueAtFirst(w *watch) []string {
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

// response builds one message of at most maxResponse bytes, and the versions
// that the stream has after it. What has no room stays due.
func (c *collection) response(w *watch, due []string) (*discoveryv3.DeltaDiscoveryResponse, map[string]string) {
	slices.Sort(due)
	versions := clone(w.sub.ReturnedResources(), w.sub.SubscribedResources())
	msg := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: w.request.GetTypeUrl()}
	size := 0
	for _, name := range due {
		r := c.resources[name]
		cost := len(name) + 4 // tag and length
		if r != nil {
			cost = proto.Size(r) + 4
		}
		if size > 0 && size+cost > maxResponse {
			delete(versions, name)
			continue
		}
		size += cost
		versions[name] = c.version(name)
		if r != nil {
			msg.Resources = append(msg.Resources, r)
		} else {
			msg.RemovedResources = append(msg.RemovedResources, name)
		}
	}
	return msg, versions
}
