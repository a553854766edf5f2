// SPDX-License-Identifier: Apache-2.0

package services

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/balanceapi"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// port makes a resource's message of texts: virtual addresses, and endpoints such
// as "10.1.0.1:80", with "*<weight>" and " draining" or " unready" behind where that is meant.
func port(number uint32, vips []string, endpoints ...string) *balanceapi.BalancedPort {
	p := &balanceapi.BalancedPort{Port: number}
	for _, v := range vips {
		p.Addresses = append(p.Addresses, netip.MustParseAddr(v).AsSlice())
	}
	for _, text := range endpoints {
		text, health, _ := strings.Cut(text, " ")
		addr, weight, weighted := strings.Cut(text, "*")
		e := &balanceapi.Endpoint{Weight: 1}
		if weighted {
			fmt.Sscan(weight, &e.Weight)
		}
		ap := netip.MustParseAddrPort(addr)
		e.Address, e.Port = ap.Addr().AsSlice(), uint32(ap.Port())
		e.Health = balanceapi.Health(balanceapi.Health_value[strings.ToUpper(health)])
		p.Endpoints = append(p.Endpoints, e)
	}
	return p
}

func encode(t testing.TB, p *balanceapi.BalancedPort) []byte {
	t.Helper()
	value, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// text shows services as "vip -> endpoint*weight ...".
func text(services []ebpf.Service) string {
	var lines []string
	for _, s := range services {
		line := s.Addr.String() + " ->"
		for _, e := range s.Endpoints {
			line += fmt.Sprintf(" %s*%d", e.Addr, e.Weight)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestDecode(t *testing.T) {
	v4, v6 := []string{"10.96.0.1"}, []string{"fd00::1"}
	both := []string{"10.96.0.1", "fd00::1"}
	many := make([]string, ebpf.MaxEndpoints+1)
	for i := range many {
		many[i] = fmt.Sprintf("10.1.%d.%d:80", i>>8, i&255)
	}
	tests := []struct {
		name string
		in   *balanceapi.BalancedPort
		want string
		err  string
	}{
		{name: "two endpoints", in: port(80, v4, "10.1.0.1:8080", "10.1.0.2:8080*3"), want: "10.96.0.1:80 -> 10.1.0.1:8080*1 10.1.0.2:8080*3"},
		{name: "none", in: port(80, v4), want: "10.96.0.1:80 ->"},
		{name: "both families", in: port(80, both, "10.1.0.1:8080", "[fd01::1]:8080"), want: "10.96.0.1:80 -> 10.1.0.1:8080*1; [fd00::1]:80 -> [fd01::1]:8080*1"},
		{name: "a family without endpoints is the proxy's", in: port(80, both, "10.1.0.1:8080"), want: "10.96.0.1:80 -> 10.1.0.1:8080*1"},
		{name: "no endpoint of its family", in: port(80, v6, "10.1.0.1:8080"), want: ""},
		{name: "an IPv4 address in IPv6 is one", in: port(80, []string{"::ffff:10.96.0.1"}, "10.1.0.1:8080"), want: "10.96.0.1:80 -> 10.1.0.1:8080*1"},
		{name: "draining keeps what it has", in: port(80, v4, "10.1.0.1:8080", "10.1.0.2:8080 draining"), want: "10.96.0.1:80 -> 10.1.0.1:8080*1 10.1.0.2:8080*0"},
		{name: "all drain", in: port(80, v4, "10.1.0.1:8080*2 draining", "10.1.0.2:8080 draining"), want: "10.96.0.1:80 -> 10.1.0.1:8080*2 10.1.0.2:8080*1"},
		{name: "unready keeps what it has", in: port(80, v4, "10.1.0.1:8080 unready", "10.1.0.2:8080"), want: "10.96.0.1:80 -> 10.1.0.1:8080*0 10.1.0.2:8080*1"},
		{name: "drains rather than unready", in: port(80, v4, "10.1.0.1:8080 unready", "10.1.0.2:8080 draining"), want: "10.96.0.1:80 -> 10.1.0.1:8080*0 10.1.0.2:8080*1"},
		{name: "all of one family drain", in: port(80, both, "10.1.0.1:8080 draining", "[fd01::1]:8080"), want: "10.96.0.1:80 -> 10.1.0.1:8080*1; [fd00::1]:80 -> [fd01::1]:8080*1"},
		{name: "ready without a weight", in: port(80, v4, "10.1.0.1:8080*0", "10.1.0.2:8080 draining"), want: "10.96.0.1:80 -> 10.1.0.1:8080*0 10.1.0.2:8080*1"},

		{name: "no address", in: port(80, nil, "10.1.0.1:8080"), err: "it has 0 addresses (allowed: 1 to 8)"},
		{name: "no port", in: port(0, v4, "10.1.0.1:8080"), err: "read address: port 0 of 10.96.0.1 is out of range"},
		{name: "a port above all", in: port(65536, v4), err: "port 65536 of 10.96.0.1 is out of range (allowed: 1 to 65535)"},
		{name: "loopback", in: port(80, []string{"127.0.0.1"}), err: "127.0.0.1 is no host's address"},
		{name: "unspecified", in: port(80, []string{"::"}), err: ":: is no host's address"},
		{name: "multicast endpoint", in: port(80, v4, "224.0.0.1:80"), err: "read endpoint: 224.0.0.1 is no host's address"},
		{name: "endpoint without a port", in: port(80, v4, "10.1.0.1:0"), err: "read endpoint: port 0 of 10.1.0.1"},
		{name: "half an address", in: &balanceapi.BalancedPort{Port: 80, Addresses: [][]byte{{10, 96}}}, err: "an IP address has 2 bytes (allowed: 4 or 16)"},
		{name: "health of a newer version", in: &balanceapi.BalancedPort{Port: 80, Addresses: [][]byte{{10, 96, 0, 1}}, Endpoints: []*balanceapi.Endpoint{{Address: []byte{10, 1, 0, 1}, Port: 80, Health: 7}}}, err: "health 7 is unknown"},
		{name: "too many endpoints", in: port(80, v4, many...), err: "it has 1025 endpoints (allowed: at most 1024)"},
	}
	for _, tt := range tests {
		got, err := decode(encode(t, tt.in))
		if text(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, text(got), tt.want)
		}
		if tt.err == "" && err != nil || tt.err != "" && !strings.Contains(fmt.Sprint(err), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
	if _, err := decode([]byte("nonsense")); err == nil {
		t.Error("nonsense is read")
	}
}

// FuzzDecode holds that whatever is sent, no service mixes families or has an
// address that is nobody's.
func FuzzDecode(f *testing.F) {
	f.Add(encode(f, port(80, []string{"10.96.0.1", "fd00::1"}, "10.1.0.1:80", "[fd01::1]:80*0 draining", "10.1.0.2:80 unready")))
	f.Fuzz(func(t *testing.T, value []byte) {
		services, err := decode(value)
		if err != nil && len(services) > 0 {
			t.Fatal("refused, and used")
		}
		for _, s := range services {
			for _, e := range s.Endpoints {
				if e.Addr.Addr().Is4() != s.Addr.Addr().Is4() || e.Addr.Port() == 0 || e.Addr.Addr().IsUnspecified() {
					t.Fatalf("%s -> %s", s.Addr, e.Addr)
				}
			}
		}
	})
}
