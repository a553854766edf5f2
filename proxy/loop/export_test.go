// SPDX-License-Identifier: Apache-2.0

package loop

import "unsafe"

// Backlog is how many functions wait.
func (w *Worker) Backlog() int {
	w.mail.mu.Lock()
	defer w.mail.mu.Unlock()
	return len(w.mail.queue) - w.mail.head
}

const (
	PostLimit = postLimit
	ConnSize  = unsafe.Sizeof(Conn{})
)

// FD is the connection's descriptor, of the driver Epoll.
func (c *Conn) FD() int { return int(c.fd) }

// Vanish closes the connection within the turn, and tells nobody.
func (c *Conn) Vanish() {
	if !c.has(gone) {
		c.worker.driver.close(c, false)
		c.worker.remove(c)
	}
}
