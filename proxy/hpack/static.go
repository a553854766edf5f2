// SPDX-License-Identifier: Apache-2.0

package hpack

import "github.com/shuntmesh/shunt/proxy/message"

// static is the static table (appendix A), by its indices. All workers share
// it: Again is set beforehand, since nobody may write to it.
var static = [...]message.Field{
	1:  {Name: ":authority", Again: true},
	2:  {Name: ":method", Value: "GET", Again: true},
	3:  {Name: ":method", Value: "POST", Again: true},
	4:  {Name: ":path", Value: "/", Again: true},
	5:  {Name: ":path", Value: "/index.html", Again: true},
	6:  {Name: ":scheme", Value: "http", Again: true},
	7:  {Name: ":scheme", Value: "https", Again: true},
	8:  {Name: ":status", Value: "200", Again: true},
	9:  {Name: ":status", Value: "204", Again: true},
	10: {Name: ":status", Value: "206", Again: true},
	11: {Name: ":status", Value: "304", Again: true},
	12: {Name: ":status", Value: "400", Again: true},
	13: {Name: ":status", Value: "404", Again: true},
	14: {Name: ":status", Value: "500", Again: true},
	15: {Name: "accept-charset", Again: true},
	16: {Name: "accept-encoding", Value: "gzip, deflate", Again: true},
	17: {Name: "accept-language", Again: true},
	18: {Name: "accept-ranges", Again: true},
	19: {Name: "accept", Again: true},
	20: {Name: "access-control-allow-origin", Again: true},
	21: {Name: "age", Again: true},
	22: {Name: "allow", Again: true},
	23: {Name: "authorization", Sensitive: true, Again: true},
	24: {Name: "cache-control", Again: true},
	25: {Name: "content-disposition", Again: true},
	26: {Name: "content-encoding", Again: true},
	27: {Name: "content-language", Again: true},
	28: {Name: "content-length", Again: true},
	29: {Name: "content-location", Again: true},
	30: {Name: "content-range", Again: true},
	31: {Name: "content-type", Again: true},
	32: {Name: "cookie", Sensitive: true, Again: true},
	33: {Name: "date", Again: true},
	34: {Name: "etag", Again: true},
	35: {Name: "expect", Again: true},
	36: {Name: "expires", Again: true},
	37: {Name: "from", Again: true},
	38: {Name: "host", Again: true},
	39: {Name: "if-match", Again: true},
	40: {Name: "if-modified-since", Again: true},
	41: {Name: "if-none-match", Again: true},
	42: {Name: "if-range", Again: true},
	43: {Name: "if-unmodified-since", Again: true},
	44: {Name: "last-modified", Again: true},
	45: {Name: "link", Again: true},
	46: {Name: "location", Again: true},
	47: {Name: "max-forwards", Again: true},
	48: {Name: "proxy-authenticate", Again: true},
	49: {Name: "proxy-authorization", Sensitive: true, Again: true},
	50: {Name: "range", Again: true},
	51: {Name: "referer", Again: true},
	52: {Name: "refresh", Again: true},
	53: {Name: "retry-after", Again: true},
	54: {Name: "server", Again: true},
	55: {Name: "set-cookie", Sensitive: true, Again: true},
	56: {Name: "strict-transport-security", Again: true},
	57: {Name: "transfer-encoding", Again: true},
	58: {Name: "user-agent", Again: true},
	59: {Name: "vary", Again: true},
	60: {Name: "via", Again: true},
	61: {Name: "www-authenticate", Again: true},
}

// searchStatic returns the index of an equal field. Failing that, i is the
// lowest one of the same name, or 0.
func searchStatic(name, value string) (i uint32, equal bool) {
	first := staticName(name)
	if first == 0 {
		return 0, false
	}
	for k := first; k < len(static) && static[k].Name == name; k++ {
		if static[k].Value == value {
			return uint32(k), true
		}
	}
	return uint32(first), false
}

// staticNames has the lowest index of each name, by the length of the name.
var staticNames = [...][]uint8{
	3:  {21, 60},
	4:  {33, 34, 37, 38, 45, 59},
	5:  {4, 22, 50},
	6:  {19, 32, 35, 54},
	7:  {2, 6, 8, 36, 51, 52},
	8:  {39, 42, 46},
	10: {1, 55, 58},
	11: {53},
	12: {31, 47},
	13: {18, 23, 24, 30, 41, 44},
	14: {15, 28},
	15: {16, 17},
	16: {26, 27, 29, 61},
	17: {40, 57},
	18: {48},
	19: {25, 43, 49},
	25: {56},
	27: {20},
}

// staticName returns the lowest index of a name, or 0.
func staticName(name string) int {
	if len(name) >= len(staticNames) {
		return 0
	}
	for _, i := range staticNames[len(name)] {
		if static[i].Name == name {
			return int(i)
		}
	}
	return 0
}
