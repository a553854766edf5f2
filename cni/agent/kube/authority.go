// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
)

// authorityPath is the webhook's registration. Its caBundle is what injected
// proxies trust discovery by, and what the API server does; a Secret would give
// every node the authority's key as well.
const authorityPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + contract.WebhookService

// authorityAge is how long a bundle is used without reading it again: thousands of
// nodes may look for a discovery that is away.
const authorityAge = time.Minute

// authority reads the mesh's certificate authority, and remembers it.
type authority struct {
	read func(ctx context.Context, path string) ([]byte, error)

	mu  sync.Mutex
	pem []byte
	at  time.Time
}

// get returns it in PEM. While the API server is away, the one before is as good.
func (a *authority) get(ctx context.Context) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pem != nil && time.Since(a.at) < authorityAge {
		return a.pem, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := a.read(ctx, authorityPath)
	var pem []byte
	if err == nil {
		pem, err = bundle(body)
	}
	switch {
	case err == nil:
		a.pem, a.at = pem, time.Now()
	case a.pem == nil:
		return nil, fmt.Errorf("read MutatingWebhookConfiguration %s: %w", contract.WebhookService, err)
	}
	return a.pem, nil
}

// bundle takes the caBundle out of a registration.
func bundle(body []byte) ([]byte, error) {
	var registration struct {
		Webhooks []struct {
			ClientConfig struct {
				CABundle []byte `json:"caBundle"`
			} `json:"clientConfig"`
		} `json:"webhooks"`
	}
	if err := json.Unmarshal(body, &registration); err != nil {
		return nil, err
	}
	for _, w := range registration.Webhooks {
		if len(w.ClientConfig.CABundle) > 0 {
			return w.ClientConfig.CABundle, nil
		}
	}
	return nil, errors.New("it has no caBundle yet (the webhook writes it when it runs)")
}
