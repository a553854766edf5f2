// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseTimeout(t *testing.T) {
	const longest = 365 * 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond,
		"5u": 5 * time.Microsecond, "6n": 6, "0S": 0, "007S": 7 * time.Second,
		"99999999n": 99999999, "00000001S": time.Second,
		"99999999S": longest, "99999999H": longest, "8760H": longest, "8761H": longest, "8759H": 8759 * time.Hour,
		"525600M": longest, "525599M": 525599 * time.Minute,
	} {
		if got, ok := parseTimeout(s); got != want || !ok {
			t.Errorf("%q is %v, %t, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{
		"", "S", "1", "11", "1s", "1h", "1µ", "-1S", "+1S", "1.5S", "1 S", " 1S", "1S ", "S1", "1SS", "123456789S", "0x1S", "1\x00S", "1:", "/S",
	} {
		if got, ok := parseTimeout(s); got != 0 || ok {
			t.Errorf("%q is %v, %t", s, got, ok)
		}
	}
}

// FuzzParseTimeout: what is taken is what its digits and unit say.
func FuzzParseTimeout(f *testing.F) {
	for _, s := range []string{"", "1S", "99999999H", "123456789n", "-1m", "0u", "1\xff"} {
		f.Add(s)
	}
	units := map[string]time.Duration{
		"H": time.Hour, "M": time.Minute, "S": time.Second, "m": time.Millisecond, "u": time.Microsecond, "n": 1,
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTimeout(s)
		var want time.Duration
		valid := false
		if len(s) >= 2 && len(s) <= 9 && strings.Trim(s[:len(s)-1], "0123456789") == "" {
			n, _ := strconv.ParseInt(s[:len(s)-1], 10, 64)
			var unit time.Duration
			unit, valid = units[s[len(s)-1:]]
			want = 365 * 24 * time.Hour
			if valid && float64(n)*float64(unit) < float64(want) {
				want = time.Duration(n) * unit
			}
		}
		if ok != valid || valid && got != want {
			t.Errorf("%q is %v, %t, want %v, %t", s, got, ok, want, valid)
		}
	})
}
