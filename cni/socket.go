// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// maxAnswer bounds what is read of the agent. Kubernetes takes 256 KiB of
// annotations, each byte of which JSON may write as six.
const maxAnswer = 2 << 20 // bytes

// request sends the agent one request over HTTP/1.0 (RFC 1945), whose answer ends
// with the connection, and returns the answer's status and body. It ends with
// ctx. net/http would do as much for 3.5 MB and half a millisecond of each start.
func request(ctx context.Context, socket, line string, body []byte) (status int, answer []byte, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, nil, err
		}
	}
	head := fmt.Appendf(nil, "%s HTTP/1.0\r\nHost: agent\r\nContent-Length: %d\r\n\r\n", line, len(body))
	if _, err := conn.Write(append(head, body...)); err != nil {
		return 0, nil, err
	}
	answer, err = io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	if err != nil {
		return 0, nil, err
	}
	if len(answer) > maxAnswer {
		return 0, nil, fmt.Errorf("read answer of %s: more than %d bytes", socket, maxAnswer)
	}
	return parseAnswer(answer)
}

// parseAnswer reads "HTTP/1.0 200 OK", header fields, of which none matters, and
// the body.
func parseAnswer(answer []byte) (status int, body []byte, err error) {
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	fields := bytes.Fields(head)
	if !ok || len(fields) < 2 || !bytes.HasPrefix(fields[0], []byte("HTTP/1.")) {
		return 0, nil, errors.New("read answer: it is not HTTP")
	}
	if status, err = strconv.Atoi(string(fields[1])); err != nil {
		return 0, nil, fmt.Errorf("read answer: status: %w", err)
	}
	return status, body, nil
}
