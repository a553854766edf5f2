// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// look reads what there is, tells it, and returns it; nil where it can't be read.
func (p *Programs) look(n node) *contract.NodePrograms {
	s, err := n.Status()
	if err != nil {
		p.options.Log.Warn("read what there is of eBPF", "err", err)
		return nil
	}
	others, err := n.Others()
	if err != nil {
		p.options.Log.Warn("look for others at the hooks of the eBPF programs", "err", err)
	}
	now := summarize(s, others, p.root, p.failed)
	if p.told != nil && slices.Equal(p.told.Others, now.Others) || len(now.Others) == 0 {
		p.tell(now)
		return now
	}
	p.options.Log.Warn("somebody else's eBPF programs are at the same hooks", "others", now.Others)
	p.tell(now)
	return now
}

// tell keeps it for metrics and readiness, and passes on what is worth it.
func (p *Programs) tell(now *contract.NodePrograms) {
	p.mu.Lock()
	p.last = now
	p.mu.Unlock()
	if worthTelling(p.told, now, time.Since(p.toldAt)) {
		p.told, p.toldAt = now, time.Now()
		p.options.Told(now)
	}
}

// summarize puts it into the words of the Node's annotation.
func summarize(s ebpf.Status, others []ebpf.Other, root string, failed error) *contract.NodePrograms {
	now := &contract.NodePrograms{
		Layout: s.Layout, ControlGroup: root, Pods: s.Pods, Counters: s.Counters, SelfTest: contract.NodePassed,
		Services: s.Services, Ends: s.Ends,
	}
	if failed != nil {
		now.SelfTest = contract.OneLine(failed.Error())
	}
	for _, each := range s.Programs {
		now.Programs = append(now.Programs, contract.NodeProgram{Name: each.Name, Tag: each.Tag, Attached: each.Attached})
	}
	for _, each := range s.Maps {
		now.Maps = append(now.Maps, contract.NodeMap{Name: each.Name, Most: each.Most, Bytes: each.Bytes})
	}
	for _, each := range others {
		now.Others = append(now.Others, each.String())
	}
	return now
}

// releasePeriod is how often it is looked whether the last namespaces have gone,
// and releaseTimeout how long: the kernel takes a while to end them.
const (
	releasePeriod  = 200 * time.Millisecond
	releaseTimeout = 3 * time.Second
)

// held returns how many pods are captured, when those that have ended are gone.
func held(ctx context.Context, n node) (pods int, err error) {
	for end := time.Now().Add(releaseTimeout); ; {
		s, err := n.Status()
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		if err == nil {
			_, err = n.Collect(ctx)
		}
		if err == nil {
			s, err = n.Status()
		}
		if err != nil || s.Pods == 0 || time.Now().After(end) || !task.Sleep(ctx, releasePeriod) {
			return s.Pods, err
		}
	}
}

func join(words []string) string { return strings.Join(words, ", ") }
