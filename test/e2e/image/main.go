// SPDX-License-Identifier: Apache-2.0

// Command image packs the programs that run in the pods of the end-to-end
// tests into one image, and an agent of another version into a second, with
// Shunt's own packer. It prints their names.
package main

import (
	"fmt"
	"os"

	"github.com/shuntmesh/shunt/shuntctl/images"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: image BIN_DIR OUT.tar")
		os.Exit(2)
	}
	specs := []images.Spec{
		{Name: "e2e", Binaries: []string{"app", "witness", "interop-client", "interop-server", "nats-server", "etcd", "fortio"}, UID: 65532},
		{Name: "e2e-node", Binaries: []string{"agent", "cni"}},
	}
	if _, err := images.Save(specs, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	for _, s := range specs {
		fmt.Println(s.Ref(""))
	}
}
