// SPDX-License-Identifier: Apache-2.0

// Command cni is the chained CNI plugin that captures injected pods. Container
// runtimes start it for each pod, under the name shunt-cni, with a verb in
// CNI_COMMAND and the network's configuration on stdin. It prints its version
// where there is no verb.
package main

import (
	"os"
	"runtime"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/shuntmesh/shunt/cni"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
	"github.com/shuntmesh/shunt/redirect/netns"
)

func main() {
	// One thing happens after the other here. On more processors each change of
	// goroutine may wake a thread on another one, which others keep busy.
	runtime.GOMAXPROCS(1)
	plugin := cni.Plugin{Backends: onnode.Backends, Enter: netns.In, Stdout: os.Stdout}
	skel.PluginMainFuncs(plugin.Funcs(), cni.Versions(), "CNI plugin "+contract.PluginBinary+" "+version.Version)
}
