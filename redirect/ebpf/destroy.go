// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

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
	return n.installIterator(loaded, programsProgShuntDestroy, nil)
}

// endRounds is how often connections that are to end are listed, until there are
// none: the list misses some where sockets come and go meanwhile.
const endRounds = 8

// endRemoved ends the connections to endpoints that were noted, and forgets the
// notes.
func (n Node) endRemoved(ctx context.Context, m *balanceMaps, removals []removal, done *Balanced) error {
	if len(removals) == 0 {
		return nil
	}
	for range endRounds {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("end connections to removed endpoints: %w (the next attempt goes on)", err)
		}
		left, err := n.doomed()
		if err == nil && len(left) == 0 {
			return m.forget(removals)
		}
		stayed := 0
		if err == nil {
			stayed, err = n.end(m, left, done)
		}
		if err != nil {
			return fmt.Errorf("end connections to removed endpoints: %w", err)
		}
		if stayed == len(left) {
			done.Stayed += stayed
			return errors.Join(m.count("stayed", stayed), m.forget(removals))
		}
	}
	return fmt.Errorf("end connections to removed endpoints: there still are some after %d rounds (the next attempt goes on)", endRounds)
}

// doomed lists the connections that are to end, by their namespaces' cookies.
func (n Node) doomed() ([]doomed, error) {
	list, err := os.ReadFile(n.layout().link(programsProgShuntRemoved))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", programsProgShuntRemoved, err)
	}
	return parseDoomed(list)
}

// end ends them, and returns how many can't be: where the kernel has no way, or
// the pod is not captured any more.
func (n Node) end(m *balanceMaps, all []doomed, done *Balanced) (stayed int, err error) {
	each := map[uint64][]doomed{}
	for _, d := range all {
		each[d.Netns] = append(each[d.Netns], d)
	}
	namespaces, err := n.inhabited(slices.Sorted(maps.Keys(each)))
	if err != nil {
		return 0, err
	}
	defer namespaces.close()
	for cookie, doomed := range each {
		ns, captured := namespaces[cookie]
		if !captured {
			stayed += len(doomed)
			continue
		}
		err := ns.do(func() error {
			ended, err := n.endHere(m, doomed)
			if errors.Is(err, errors.ErrUnsupported) {
				stayed += len(doomed)
				return nil
			}
			done.Destroyed += ended
			return err
		})
		if err != nil {
			return stayed, err
		}
	}
	return stayed, nil
}

// endHere ends those of the calling thread's namespace.
func (n Node) endHere(m *balanceMaps, all []doomed) (ended int, err error) {
	oneEach, err := os.ReadFile(n.layout().link(programsProgShuntDestroy))
	if err == nil {
		return len(oneEach), nil // the program has counted them
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("run %s: %w", programsProgShuntDestroy, err)
	}
	for _, d := range all {
		if err := d.destroy(); err != nil {
			return ended, err
		}
		ended++
	}
	return ended, m.count("destroyed", ended)
}
