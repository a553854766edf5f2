// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/shuntmesh/shunt/cni/conf"
)

// input is what stands on stdin with ADD and CHECK.
type input struct {
	conf.Entry
	PrevResult json.RawMessage // as it was written

	handedOver  bool // the runtime hands over annotations
	annotations map[string]string
}

// readEntry reads the plugin's own part of the configuration.
func readEntry(stdin []byte) (conf.Entry, error) {
	var e conf.Entry
	if err := json.Unmarshal(stdin, &e); err != nil {
		return conf.Entry{}, undecodable(err)
	}
	if err := e.Validate(); err != nil {
		return conf.Entry{}, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("read CNI configuration: %v", err), "the node agent writes this entry")
	}
	return e, nil
}

func readInput(stdin []byte) (input, error) {
	e, err := readEntry(stdin)
	if err != nil {
		return input{}, err
	}
	var rest struct {
		PrevResult    json.RawMessage            `json:"prevResult"`
		RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig"`
	}
	if err := json.Unmarshal(stdin, &rest); err != nil {
		return input{}, undecodable(err)
	}
	if !bytes.HasPrefix(rest.PrevResult, []byte("{")) {
		return input{}, types.NewError(types.ErrInvalidNetworkConfig, "read CNI configuration: prevResult is missing",
			"chain the plugin behind one that makes the pod's network")
	}
	in := input{Entry: e, PrevResult: rest.PrevResult}
	text, ok := rest.RuntimeConfig[conf.PodAnnotations]
	if !ok {
		return in, nil
	}
	in.handedOver = true
	if err := json.Unmarshal(text, &in.annotations); err != nil {
		return input{}, undecodable(fmt.Errorf("%s: %w", conf.PodAnnotations, err))
	}
	return in, nil
}

func undecodable(err error) error {
	return types.NewError(types.ErrDecodingFailure, fmt.Sprintf("read CNI configuration: %v", err), "")
}
