// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"context"

	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// Balance makes the node's table of Services that are balanced at connect exactly
// want; see ebpf.Node. It may be called at any time.
func (p *Programs) Balance(ctx context.Context, want []ebpf.Service) (ebpf.Balanced, error) {
	return p.balance(ctx, want)
}

// stopBalancing leaves new connections to the proxies of the pods that are still
// captured: nobody keeps the table any more. Open connections go on.
func (p *Programs) stopBalancing(ctx context.Context) {
	done, err := p.balance(ctx, nil)
	switch {
	case err != nil:
		p.options.Log.Warn("leave the balancing at connect to the proxies", "err", err)
	case done.Changed > 0:
		p.options.Log.Info("leave the balancing at connect to the proxies", "services", done.Changed)
	}
}
