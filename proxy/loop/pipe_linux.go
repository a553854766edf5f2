// SPDX-License-Identifier: Apache-2.0

package loop

import "golang.org/x/sys/unix"

// pipeSize is how much one splice moves at most. A user who has many pipes gets
// smaller ones.
const pipeSize = 1 << 20

// newPipe returns nil when there is none that is worth it.
func newPipe() *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	size, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize)
	if err != nil {
		size, _ = unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0)
	}
	if p.size = size; size < spliceLittle {
		p.close()
		return nil
	}
	return p
}

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}
