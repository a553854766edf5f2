// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// ServiceStatus is what a machine's first process says of one daemon.
type ServiceStatus struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	// Restarts counts how often the daemon has ended and was started again.
	Restarts int `json:"restarts"`
}

// String returns the status in a word or two.
func (s ServiceStatus) String() string {
	if !s.Running {
		return s.Name + " down"
	}
	return fmt.Sprintf("%s (%d)", s.Name, s.Restarts)
}

func servicesFile(state layout.State, name string) string { return state.Path(name, "services.json") }

// Services returns what the machine's first process wrote last.
func Services(state layout.State, name string) ([]ServiceStatus, error) {
	text, err := os.ReadFile(servicesFile(state, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the daemons of %s: %w", name, err)
	}
	var all []ServiceStatus
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the daemons of %s: %w", name, err)
	}
	return all, nil
}

// report files which services run. It is for people: that it can't be written is no reason to stop a machine.
func (f *first) report() {
	all := make([]ServiceStatus, len(f.spec.Services))
	for i, service := range f.spec.Services {
		_, waiting := f.due[i]
		all[i] = ServiceStatus{Name: service.Name, Running: !waiting, Restarts: max(0, f.starts[i]-1)}
	}
	text, err := json.Marshal(all)
	if err != nil {
		f.log.Error("encode the daemons", "error", err)
		return
	}
	path := servicesFile(f.spec.State, f.spec.Name)
	if err := os.WriteFile(path+".half", text, 0o644); err != nil {
		f.log.Error("write the daemons", "error", err)
		return
	}
	if err := os.Rename(path+".half", path); err != nil {
		f.log.Error("write the daemons", "error", err)
	}
}
