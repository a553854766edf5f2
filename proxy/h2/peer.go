// SPDX-License-Identifier: Apache-2.0

package h2

import "github.com/shuntmesh/shunt/proxy/message"

// Settled tells that the peer's SETTINGS have arrived, which come first of all:
// until then nobody knows what it takes.
func (c *Conn) Settled() bool { return c.settled }

// ConnectProtocol tells that the peer takes extended CONNECT (RFC 8441, section
// 3): a client must not send a Protocol to another.
func (c *Conn) ConnectProtocol() bool { return c.peer.connectProtocol }

// Fits tells whether the peer takes a request of this size, as far as it has
// said (SETTINGS_MAX_HEADER_LIST_SIZE, RFC 9113, section 6.5.2).
func (c *Conn) Fits(h *message.Head) bool {
	if int64(c.peer.maxHeaderList) >= int64(c.o.MaxHeaderBytes) {
		return true // nothing larger gets here
	}
	return listSize(h) <= int64(c.peer.maxHeaderList)
}

// listSize is the size of a request's field list as the setting counts it.
func listSize(h *message.Head) int64 {
	const overhead = 32
	var n int64
	for _, pseudo := range [...]struct{ name, value string }{
		{":method", h.Method},
		{":scheme", h.Scheme},
		{":path", h.Path},
		{":authority", h.Authority},
		{":protocol", h.Protocol},
	} {
		if pseudo.value != "" {
			n += int64(len(pseudo.name) + len(pseudo.value) + overhead)
		}
	}
	for _, f := range h.Fields {
		n += int64(len(f.Name) + len(f.Value) + overhead)
	}
	return n
}

// SettingsDue ends the connection with SETTINGS_TIMEOUT unless the peer has
// acknowledged our SETTINGS by now (RFC 9113, section 6.5.3), and tells whether
// it did. Who owns the connection knows the time.
func (c *Conn) SettingsDue() (ended bool) {
	if c.acked || c.err != nil || c.closing {
		return false
	}
	c.enter()
	c.fail(connError(message.SettingsTimeout, "SETTINGS were not acknowledged in time"))
	c.exit()
	c.w.Close()
	return true
}
