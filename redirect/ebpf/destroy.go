// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
)

// apart takes the program out that not all kernels have what it takes for.
func apart(spec *ebpf.CollectionSpec) (core, destroyer *ebpf.CollectionSpec) {
	core, destroyer = spec.Copy(), spec.Copy()
	delete(core.Programs, programsProgShuntDestroy)
	for name := range destroyer.Programs {
		if name != programsProgShuntDestroy {
			delete(destroyer.Programs, name)
		}
	}
	return core, destroyer
}

// installDestroyer pins the iterator that ends connections, where the kernel has
// bpf_sock_destroy. Where not, they are ended by SOCK_DESTROY.
func (n Node) installDestroyer(spec *ebpf.CollectionSpec) (bool, error) {
	loaded, err := n.loadOver(spec)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer loaded.Close()
	return n.installIterator(loaded, programsProgShuntDestroy)
}

// endRemoved ends the connections to endpoints that were noted, in all captured
// pods, and forgets the notes.
func (n Node) endRemoved(ctx context.Context, m *balanceMaps, removals []removal, done *Balanced) error {
	if len(removals) == 0 {
		return nil
	}
	namespaces, err := n.inhabited()
	if err != nil {
		return fmt.Errorf("end connections to removed endpoints: %w", err)
	}
	defer namespaces.close()
	for _, ns := range namespaces {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("end connections to removed endpoints: %w (the next attempt finishes it)", err)
		}
		if err := ns.do(func() error { return n.endHere(m, done) }); err != nil {
			return fmt.Errorf("end connections to removed endpoints: %w", err)
		}
	}
	return m.forget(removals)
}

// endHere does so in the calling thread's namespace.
func (n Node) endHere(m *balanceMaps, done *Balanced) error {
	ended, err := os.ReadFile(n.layout().link(programsProgShuntDestroy))
	if err == nil {
		done.Destroyed += len(ended) // a byte each
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("run %s: %w", programsProgShuntDestroy, err)
	}
	list, err := os.ReadFile(n.layout().link(programsProgShuntRemoved))
	if err != nil {
		return fmt.Errorf("run %s: %w", programsProgShuntRemoved, err)
	}
	doomed, err := parseDoomed(list)
	if err != nil {
		return err
	}
	for _, d := range doomed {
		err := d.destroy()
		switch {
		case err == nil:
			done.Destroyed++
			err = m.count("destroyed")
		case errors.Is(err, errors.ErrUnsupported):
			done.Stayed++
			err = m.count("stayed")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
