// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/shuntmesh/shunt/redirect/flags"
)

const overview = `redirect steers a pod's TCP connections to its proxy.

  redirect apply [flags]    make the network namespace match the flags; idempotent
  redirect check [flags]    read the rules back and name the first difference
  redirect remove [flags]   take all rules away; finding none is no error
  redirect validate [flags] [-- program]
                            wait until connections of its own go as the flags say,
                            then become the program; needs no privilege
  redirect print [flags]    show the plan and change nothing
  redirect explain tcp ADDRESS:PORT [flags]
                            say which rule decides for a connection, each way
  redirect detect           try each backend in a namespace of its own

redirect <command> -h lists the flags. They are istio-iptables' flags, so that
its command lines work unchanged:

  redirect apply -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x "" -b '*' -d 15090,15020
  redirect explain tcp 10.0.0.5:443 --uid 1000

Port lists take ranges (9000-9010). A list that begins with + adds to the
default, one with = replaces it, as does one with neither. What is not supported
is refused by name. apply, check and remove need CAP_NET_ADMIN.

Exit codes: 0 done, or as planned; 1 check or validate found a difference; 2 the
command line asks for something impossible; 3 the kernel refused, or a privilege is
missing.
`

// help lists a verb's flags: what works first, what is refused last.
func help(verb string) string {
	var b strings.Builder
	arguments := ""
	if verb == verbExplain {
		arguments = " tcp ADDRESS:PORT"
	}
	program := ""
	if verb == verbValidate {
		program = " [-- program]"
	}
	fmt.Fprintf(&b, "redirect %s%s [flags]%s\n\n", verb, arguments, program)
	c := command{Flags: flags.New()}
	for _, o := range c.options(verb) {
		name := "--" + o.Long
		if o.Short != "" {
			name = "-" + o.Short + ", " + name
		}
		fmt.Fprintf(&b, "  %s\n        %s\n", strings.TrimSpace(name+" "+o.Value), o.Usage)
	}
	b.WriteString("\nExit codes: 0 done, or as planned; 1 check found a difference; 2 bad command line; 3 the kernel refused.\n")
	return b.String()
}
