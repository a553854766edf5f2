// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
)

// Status says how the cluster is.
type Status struct {
	State      layout.State    `json:"state"`
	Kubeconfig string          `json:"kubeconfig"`
	Bin        string          `json:"bin"`
	Machines   []MachineStatus `json:"machines"`
}

// MachineStatus says how one machine is.
type MachineStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// PID is the machine's first process as the host sees it; 0 when the machine is down.
	PID int `json:"pid"`
	// Ready is what the API server says of a node; for the control plane, whether the API server answers.
	Ready bool `json:"ready"`
	// Services are the daemons.
	Services []machine.ServiceStatus `json:"services"`
}

// Status looks at every machine.
func (c *Cluster) Status(ctx context.Context) (Status, error) {
	summary, err := c.Summary()
	if err != nil {
		return Status{}, err
	}
	nodes, apiErr := c.kube(summary.Bin).Nodes(ctx)
	if ctx.Err() != nil {
		return Status{}, apiErr
	}
	s := Status{State: c.State, Kubeconfig: c.State.Kubeconfig(), Bin: summary.Bin}
	add := func(name, address string, ready bool) error {
		m, err := c.machineStatus(name)
		m.Address, m.Ready = address, ready && m.PID != 0
		s.Machines = append(s.Machines, m)
		return err
	}
	if err := add(layout.ControlPlane, layout.APIAddress.String(), apiErr == nil); err != nil {
		return Status{}, err
	}
	for _, n := range layout.Nodes(summary.Nodes) {
		if err := add(n.Name, n.Address.String(), nodes[n.Name].Ready); err != nil {
			return Status{}, err
		}
	}
	return s, nil
}

func (c *Cluster) machineStatus(name string) (MachineStatus, error) {
	m := MachineStatus{Name: name, Services: []machine.ServiceStatus{}}
	p, err := machine.Find(c.State, name)
	if errors.Is(err, machine.ErrDown) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	m.PID = p.PID
	m.Services, err = machine.Services(c.State, name)
	return m, err
}

// WriteJSON writes the status for programs.
func (s Status) WriteJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return nil
}

// WriteTable writes the status for people.
func (s Status) WriteTable(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "MACHINE\tADDRESS\tPID\tREADY\tDAEMONS (restarts)")
	for _, m := range s.Machines {
		var services []string
		for _, service := range m.Services {
			services = append(services, service.String())
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%t\t%s\n", m.Name, m.Address, m.PID, m.Ready, strings.Join(services, ", "))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return nil
}
