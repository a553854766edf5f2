// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// Uids and gids of the senders.
const (
	applicationID = 1000
	proxyID       = contract.ProxyUID
	ownerGroup    = 2002 // named by every Config below, unless it says so
)

// Setting is a Config and the destinations that show what it does.
type Setting struct {
	Name   string
	Config redirect.Config
	Exempt []Sender // left alone when they call other hosts, beside the proxy
	Aims   []Aim
	// ByCaller says that the network of an aim decides about who calls, so that
	// what comes by way of the node, which is near, is decided the other way.
	ByCaller bool
	// Off says that nothing was applied.
	Off bool
}

// Net is the network of a destination, or of a source of inbound connections.
type Net uint8

// The networks.
const (
	Near   Net = iota // the pod's own
	Far               // behind the same interface
	Second            // behind the pod's other interface
)

// Aim is a port and a network, and what the setting means for both.
type Aim struct {
	Name string
	Port uint16
	Net  Net
	In   bool // captured when it arrives at the pod
	Out  bool // captured when the application opens it to another host
	Self bool // captured when the proxy opens it to the pod's own address
}

// Ports of the aims.
const (
	Ordinary       = 8080 // named by no list
	listedInbound  = 8081
	listedOutbound = 8082
)

func newSetting(name string, c redirect.Config, aims []Aim) *Setting {
	return &Setting{Name: name, Config: c, Exempt: []Sender{OwnerGroup}, Aims: aims}
}

// general returns the settings that list nothing.
func general() []*Setting {
	near := []Aim{{"near", Ordinary, Near, true, true, true}}
	onlyIPv4, onlyIPv6, dropInvalid, several, closed := captureAll(), captureAll(), captureAll(), captureAll(), captureAll()
	onlyIPv4.IPv6, onlyIPv6.IPv4 = false, false
	dropInvalid.DropInvalid = true
	several.ProxyUIDs, several.ProxyGIDs = []uint32{4001, proxyID, 4002}, []uint32{4003, proxyID}
	closed.ClosedPorts = redirect.ClosedCapture
	return []*Setting{
		everything(),
		// What the proxy calls in the pod is captured even so.
		newSetting("nothing", captureNothing(), []Aim{{"near", Ordinary, Near, false, false, true}}),
		newSetting("IPv4 alone", onlyIPv4, near),
		newSetting("IPv6 alone", onlyIPv6, near),
		newSetting("drop invalid", dropInvalid, near),
		newSetting("several proxies", several, near),
		newSetting("capture closed ports", closed, near),
	}
}

// Untouched is no setting: nothing is applied, and so nothing is captured.
func Untouched() *Setting {
	return &Setting{Name: "untouched", Off: true, Aims: []Aim{
		{Name: "near", Port: Ordinary},
		{Name: "far", Port: Ordinary, Net: Far},
		{Name: "second interface", Port: Ordinary, Net: Second},
	}}
}

// everything has the ports of the proxy too. Those at which others call it are
// left alone by default; the others can't be reached by going around.
func everything() *Setting {
	return newSetting("everything", captureAll(), []Aim{
		{"near", Ordinary, Near, true, true, true},
		{"far", Ordinary, Far, true, true, true},
		{"second interface", Ordinary, Second, true, true, true},
		{"proxy's outbound port", contract.PortOutbound, Near, true, true, true},
		{"proxy's inbound port", contract.PortInbound, Near, true, true, true},
		{"tunnel port", contract.PortTunnel, Near, false, true, false},
		{"readiness port", contract.PortReady, Near, false, true, true},
		{"metrics port", contract.PortProxyMetrics, Near, false, true, true},
	})
}

// ownerGroups returns the settings in which other groups are exempt than in the
// rest.
func ownerGroups() []*Setting {
	near := []Aim{{"near", Ordinary, Near, true, true, true}}
	none, one, root, both := captureAll(), captureAll(), captureAll(), captureAll()
	none.ExcludeOwnerGroups, one.ExcludeOwnerGroups, root.ExcludeOwnerGroups = nil, nil, nil
	one.OwnerGroups = []uint32{4004, ownerGroup}
	root.OwnerGroups = []uint32{0}
	both.OwnerGroups = []uint32{applicationID, ownerGroup}
	return []*Setting{
		{Name: "no owner group", Config: none, Aims: near},
		{Name: "include an owner group", Config: one, Aims: near, Exempt: []Sender{Application, Root, Member}},
		{Name: "include root's group", Config: root, Aims: near, Exempt: []Sender{Application, Member, OwnerGroup}},
		{Name: "include and exclude owner groups", Config: both, Aims: near, Exempt: []Sender{Root, OwnerGroup}},
	}
}
