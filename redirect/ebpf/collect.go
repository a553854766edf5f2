// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// Collect takes away what was written about pods whose namespace is gone, and
// returns how many those were. Nobody can reach such entries any more; they
// fill the maps.
func (n Node) Collect(ctx context.Context) (collected int, err error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	maps, err := openMaps(n.layout())
	if err != nil {
		return 0, err
	}
	defer maps.Close()
	files, err := os.ReadDir(n.layout().pods())
	if err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return collected, err
		}
		cookie, err := strconv.ParseUint(f.Name(), 10, 64)
		if err != nil {
			return collected, fmt.Errorf("collect pod %q: its name is no number: %w", f.Name(), err)
		}
		gone, err := n.collectPod(&pod{layout: n.layout(), maps: maps, cookie: cookie})
		if err != nil {
			return collected, fmt.Errorf("collect pod %d: %w", cookie, err)
		}
		if gone {
			collected++
		}
	}
	return collected, nil
}

func (n Node) collectPod(pd *pod) (gone bool, err error) {
	inode, err := linkedInode(pd.layout.pod(pd.cookie))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a Backend has removed it meanwhile
	}
	if err != nil || inode != 0 {
		return false, err
	}
	return true, pd.remove()
}
