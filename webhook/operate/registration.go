// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
)

// Registrations is what is asked of the API server about them.
type Registrations interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*registration, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (*registration, error)
}

type registration = admissionregistrationv1.MutatingWebhookConfiguration

// registrationName is the MutatingWebhookConfiguration that is kept.
const registrationName = contract.WebhookService

// reread is how long one watch lasts, and so how often the CA is read again.
const reread = time.Minute

// settle is the pause after a patch. It lets the API servers take up a new
// bundle before a leaf of the new CA is served, and bounds how fast we fight
// with a tool that keeps overwriting it.
const settle = 500 * time.Millisecond

func (k *Keeper) get(ctx context.Context) (*registration, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	registration, err := k.options.Registrations.Get(ctx, registrationName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("get MutatingWebhookConfiguration %s: it does not exist (is Shunt installed completely?)", registrationName)
	}
	if err != nil {
		return nil, fmt.Errorf("get MutatingWebhookConfiguration %s: %w", registrationName, err)
	}
	return registration, nil
}

// watch repairs the registration whenever it changes. It returns nil after
// reread, when the API server ends the watch; ours ends a little later, should
// the API server be gone without a word.
func (k *Keeper) watch(ctx context.Context, version string, fail func(error)) error {
	watching, cancel := context.WithTimeout(ctx, reread+callTimeout)
	defer cancel()
	w, err := k.options.Registrations.Watch(watching, metav1.ListOptions{
		// RBAC allows the watch of one name only with this selector.
		FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, registrationName).String(),
		ResourceVersion: version,
		TimeoutSeconds:  new(int64(reread / time.Second)),
	})
	if err != nil {
		return fmt.Errorf("watch MutatingWebhookConfiguration %s: %w", registrationName, err)
	}
	defer w.Stop()
	for {
		select {
		case <-watching.Done():
			return nil
		case event, open := <-w.ResultChan():
			if !open {
				return nil
			}
			if err := k.handle(ctx, event, fail); err != nil {
				return err
			}
		}
	}
}

func (k *Keeper) handle(ctx context.Context, event watch.Event, fail func(error)) error {
	switch object := event.Object.(type) {
	case *metav1.Status: // such as 410 Gone: a new session gets the newest version
		return fmt.Errorf("watch MutatingWebhookConfiguration %s: %w", registrationName, apierrors.FromObject(object))
	case *registration:
		if event.Type == watch.Deleted {
			return errors.New("MutatingWebhookConfiguration " + registrationName + " was deleted: no pod is injected until it is applied again")
		}
		if err := k.repair(ctx, object); err != nil {
			return err
		}
		return k.serve(ctx, fail)
	default:
		return nil
	}
}

// repair makes the registration trust our CA. Before it changes anything it
// reads the CA again: most differences come from a replica that has seen a
// replacement earlier than we have.
func (k *Keeper) repair(ctx context.Context, r *registration) error {
	if patch, err := k.patchFor(r); err != nil || patch == nil {
		return err
	}
	if err := k.reload(ctx); err != nil {
		return err
	}
	patch, err := k.patchFor(r)
	if err != nil || patch == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = k.options.Registrations.Patch(ctx, registrationName, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: contract.WebhookService})
	if apierrors.IsConflict(err) {
		return nil // somebody was faster: the watch brings what they wrote
	}
	if err != nil {
		return fmt.Errorf("patch caBundle of MutatingWebhookConfiguration %s: %w", registrationName, err)
	}
	k.options.Log.Info("put caBundle right", "registration", registrationName, "version", r.ResourceVersion)
	task.Sleep(ctx, settle)
	return nil
}

// patchFor returns the strategic merge patch that puts r right, nil when it is
// right. Entries are merged by name, so what else a user set in them stays. The
// version makes the API server refuse the patch when r is not the newest.
func (k *Keeper) patchFor(r *registration) ([]byte, error) {
	type clientConfig struct {
		CABundle []byte `json:"caBundle"`
	}
	type entry struct {
		Name         string       `json:"name"`
		ClientConfig clientConfig `json:"clientConfig"`
	}
	now, trust := time.Now(), k.trust.Load()
	var entries []entry
	for _, w := range r.Webhooks {
		have := w.ClientConfig.CABundle
		if want := trust.want(have, now); !bytes.Equal(have, want) {
			entries = append(entries, entry{Name: w.Name, ClientConfig: clientConfig{CABundle: want}})
		}
	}
	if len(entries) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": r.ResourceVersion},
		"webhooks": entries,
	})
	if err != nil {
		return nil, fmt.Errorf("encode patch of caBundle: %w", err)
	}
	return patch, nil
}
