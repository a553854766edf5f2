// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
)

// bare is Options without its methods, for encoding.
type bare Options

// written is Options as JSON has it: selectors are texts.
type written struct {
	bare
	Never, Always []string
}

// MarshalJSON writes all that the webhook was told, for those who want to decide
// as it does.
func (o Options) MarshalJSON() ([]byte, error) {
	w := written{bare: bare(o)}
	for _, s := range o.Never {
		w.Never = append(w.Never, s.String())
	}
	for _, s := range o.Always {
		w.Always = append(w.Always, s.String())
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes. What a newer version adds is left
// out.
func (o *Options) UnmarshalJSON(text []byte) error {
	var w written
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("read options of the webhook: %w", err)
	}
	*o = Options(w.bare)
	for _, l := range []struct {
		texts []string
		into  *[]labels.Selector
	}{{w.Never, &o.Never}, {w.Always, &o.Always}} {
		*l.into = nil
		for _, text := range l.texts {
			selector, err := labels.Parse(text)
			if err != nil {
				return fmt.Errorf("read options of the webhook: %w", err)
			}
			*l.into = append(*l.into, selector)
		}
	}
	return nil
}
