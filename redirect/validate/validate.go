// SPDX-License-Identifier: Apache-2.0

// Package validate proves by connections of its own, without a privilege, that
// the network namespace of its process does with that process's sockets what a
// Plan says. It reads no rule, which would take a privilege, and so holds for
// every backend: it opens connections inside of the pod and out of it, and looks
// where they arrive. docs/adr/0006-validator.md says what follows and what
// doesn't.
package validate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/redirect"
)

// Options say what to prove.
type Options struct {
	Plan  redirect.Plan
	Owner Owner         // of this process's sockets
	Wait  time.Duration // how long the namespace may take to match; 0 is one look
	Say   func(string)  // is told what is waited for, now and then
}

// sayEvery is how often the same is said again.
const sayEvery = 5 * time.Second

// hint says who can do something.
const hint = "the node's CNI plugin applies the rules, or its agent when the plugin could not; see the pod's events, and: shuntctl node status"

// Unproven is the error for a namespace that doesn't do what the plan says.
type Unproven struct {
	Wrong  []*redirect.Difference // at least one
	Waited time.Duration
}

// Error names the first difference, and how many there are.
func (u *Unproven) Error() string {
	return fmt.Sprintf("waited %v in vain until this pod is captured: %s (%s)", u.Waited.Round(time.Second), summary(u.Wrong), hint)
}

// Unwrap returns the first difference.
func (u *Unproven) Unwrap() error { return u.Wrong[0] }

// Run returns when all that can be tried went as planned, and says in words what
// was; or, after o.Wait, an *Unproven. Rules may come while it waits.
func Run(ctx context.Context, o Options) (proven string, err error) {
	begin := time.Now()
	told := time.Time{}
	last := ""
	for {
		looked := time.Now()
		f, err := round(ctx, o.Plan, o.Owner)
		if err != nil {
			return "", fmt.Errorf("prove the capture: %w", err)
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("prove the capture: %w", context.Cause(ctx))
		}
		if len(f.wrong) == 0 {
			return f.String(), nil
		}
		waited := time.Since(begin)
		if waited >= o.Wait {
			return "", &Unproven{f.wrong, waited}
		}
		if now := places(f.wrong); now != last || time.Since(told) >= sayEvery {
			o.Say(fmt.Sprintf("waiting until this pod is captured, for %v now: %s (%s)", waited.Round(time.Second), summary(f.wrong), hint))
			told, last = time.Now(), now
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause(waited, time.Since(looked))):
		}
	}
}

// pause is short at first: whoever repairs the pod does it in its first seconds,
// and the application waits for us. A look that takes long tells of a busy node,
// on which many pods may wait, and whose agent needs the processor more.
func pause(waited, look time.Duration) time.Duration {
	return min(max(waited/100, 2*look, 20*time.Millisecond), 200*time.Millisecond)
}

// String tells what a round proved.
func (f finding) String() string {
	return strings.Join(append([]string{fmt.Sprintf("%d connections went as planned", f.tried)}, f.notes...), "; ")
}

// places are the rules of differences: in words they differ each time, by ports.
func places(wrong []*redirect.Difference) string {
	var all strings.Builder
	for _, d := range wrong {
		all.WriteString(d.Where + "\n")
	}
	return all.String()
}

func summary(wrong []*redirect.Difference) string {
	text := wrong[0].Error()
	if more := len(wrong) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
