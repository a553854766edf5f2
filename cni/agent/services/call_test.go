// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func prefix(compressed byte, length uint32, rest string) string {
	return string(binary.BigEndian.AppendUint32([]byte{compressed}, length)) + rest
}

func TestReadFrame(t *testing.T) {
	tests := []struct{ name, in, want, err string }{
		{"a message", prefix(0, 2, "ab"), "ab", ""},
		{"an empty one", prefix(0, 0, ""), "", ""},
		{"half a message", prefix(0, 3, "ab"), "", "receive message: unexpected EOF"},
		{"none of a message", prefix(0, 3, ""), "", "receive message: unexpected EOF"},
		{"half a prefix", "\x00\x00", "", "unexpected EOF"},
		{"compressed", prefix(1, 2, "ab"), "", "it is compressed"},
		{"too large", prefix(0, maxMessage+1, ""), "", "it has 1048577 bytes (at most 1048576 are taken)"},
	}
	for _, tt := range tests {
		got, err := readFrame(strings.NewReader(tt.in))
		if string(got) != tt.want || tt.err == "" && err != nil || tt.err != "" && !strings.Contains(fmt.Sprint(err), tt.err) {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
	if _, err := readFrame(strings.NewReader("")); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the end: %v", err)
	}
}

// Whoever else may stand at discovery's address is named by what it answers.
func TestOtherServers(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"no gRPC", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "what?", http.StatusNotFound) }, "answered with HTTP status 404"},
		{"an answer without messages", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "12")
			w.Header().Set("Grpc-Message", "not%20here")
		}, `status "12": not here`},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, `has ended the stream: status "": `},
		{"no message of ours", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(prefix(0, 4, "\xff\xff\xff\xff"))) }, "read message: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(tt.answer)
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			f := newFeed(t, strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1), &kernel{})
			f.host = "example.com" // what the server's certificate is for
			f.options.TokenFile = filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(f.options.TokenFile, []byte("token"), 0o600); err != nil {
				t.Fatal(err)
			}
			f.options.Roots = func(context.Context) ([]byte, error) {
				return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), nil
			}
			if err := f.session(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
