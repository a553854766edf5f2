// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Action is what a Step does.
type Action int

// Actions. Each can be done at once, so that no runtime ever finds half of it.
const (
	Put    Action = iota // write a file
	Move                 // rename it
	Remove               // remove it
)

// Step is one change of the folder. A plan is made of what the files were: a step
// whose file is another by now calls off itself and those behind it.
type Step struct {
	Do      Action
	Name    string
	Was     []byte      // what the file holds; nil for no such file
	Content []byte      // to Put
	Mode    fs.FileMode // permission bits to Put
	To      string      // name to Move to
}

// errElsewhere is our plugin in a place that isn't ours: a delegate of Multus, say.
var errElsewhere = errors.New("it is none of the plugins of a list (change the file by hand)")

// Plan is what has to be done with the folder.
type Plan struct {
	// Target is the file that the runtime uses, once all steps are done. Empty is none.
	Target string
	// Chained reports whether the target has a plugin of ours now, be it by another entry.
	Chained bool
	Steps   []Step    // in this order; none when all is well
	Skipped []Skipped // of what comes before the target
}

// Install plans what chains the entry into the configuration that the runtime
// uses, and takes it out of every other. Network, if not empty, is the name of the
// one network that counts. The error is ErrNoConfig, or ErrUnsupported with the
// reason; the plan's steps hold all the same.
func Install(files []File, entry []byte, network string) (Plan, error) {
	d := newDir(files)
	c, err := d.choose(network)
	p := Plan{Skipped: c.skipped}
	if err == nil {
		if err = d.chainInto(&p, c, entry); err != nil {
			err = fmt.Errorf("%s %w: %w", c.file.Name, ErrUnsupported, err)
		}
	}
	// A chained list that the runtime doesn't use: somebody put another before it,
	// and may delegate to this one.
	for _, name := range d.names {
		if name == p.Target || isSingle(name) {
			continue
		}
		if s, unchainErr := d.files[name].unchain(); unchainErr == nil && s != nil {
			p.Steps = append(p.Steps, *s)
		}
	}
	return p, err
}

// chainInto plans what puts the entry into the choice. A single configuration is
// first written as a list, which comes behind it, and then saved.
func (d dir) chainInto(p *Plan, c choice, entry []byte) error {
	l, err := parse(c.text)
	if err != nil {
		return err
	}
	text, err := l.chain(entry)
	if err != nil {
		return err
	}
	p.Target = c.file.Name
	if isSingle(c.file.Name) {
		p.Target = d.convertedName(c.file)
	}
	p.Chained = p.Target == c.file.Name && l.mentions()
	if was := d.files[p.Target].Content; !bytes.Equal(was, text) {
		p.Steps = append(p.Steps, Step{Do: Put, Name: p.Target, Was: was, Content: text, Mode: c.file.Mode})
	}
	if p.Target != c.file.Name {
		p.Steps = append(p.Steps, Step{Do: Move, Name: c.file.Name, Was: c.file.Content, To: c.file.Name + savedSuffix})
	}
	return nil
}

// unchain plans the step that takes our plugin out of a list; none if it isn't in.
func (f File) unchain() (*Step, error) {
	if f.Problem != nil {
		return nil, f.Problem
	}
	l, err := parse(f.Content)
	if err != nil || !l.mentions() {
		return nil, err
	}
	text, err := l.unchain()
	if err != nil {
		return nil, err
	}
	return &Step{Do: Put, Name: f.Name, Was: f.Content, Content: text, Mode: f.Mode}, nil
}

// Uninstall plans what takes our plugin out of every file of the folder, whatever
// its name: what another installer set aside may come back. What was converted
// becomes what it was, unless somebody changed it since. The files have to be all
// of the folder. The error names the configurations that mention our plugin where
// we can't take it out; the steps hold all the same.
func Uninstall(files []File) (Plan, error) {
	d := newDir(files)
	var p Plan
	done := make(map[string]bool)
	for _, f := range files {
		if strings.HasSuffix(f.Name, savedSuffix) {
			p.Steps = append(p.Steps, d.restore(f, done)...)
		}
	}
	var problems []error
	for _, f := range files {
		if done[f.Name] {
			continue
		}
		s, err := f.unchain()
		switch {
		case s != nil:
			p.Steps = append(p.Steps, *s)
		case !Mentions(f):
		case Loads(f.Name):
			problems = append(problems, fmt.Errorf("take %s out of %s: %w", contract.PluginBinary, f.Name, cmp.Or(err, errElsewhere)))
		default:
			p.Skipped = append(p.Skipped, Skipped{f.Name, cmp.Or(err, errElsewhere)})
		}
	}
	return p, errors.Join(problems...)
}

// restore plans the way back of a conversion, and notes the files that are done
// with. Where nothing is left of it, or it says something else by now, or the
// original is back, the saved file goes.
func (d dir) restore(saved File, done map[string]bool) []Step {
	original := strings.TrimSuffix(saved.Name, savedSuffix)
	_, back := d.files[original]
	done[saved.Name] = true
	drop := Step{Do: Remove, Name: saved.Name, Was: saved.Content}
	for _, name := range listNames(original) {
		f, ok := d.files[name]
		if !ok || !isConversion(f, saved) {
			continue
		}
		done[name] = true
		remove := Step{Do: Remove, Name: name, Was: f.Content}
		if back {
			return []Step{remove, drop}
		}
		return []Step{{Do: Move, Name: saved.Name, Was: saved.Content, To: original}, remove}
	}
	return []Step{drop}
}

// Mentions reports whether our plugin is named in a file, be it in a place that we
// know nothing about.
func Mentions(f File) bool {
	return bytes.Contains(f.Content, []byte(`"`+contract.PluginBinary+`"`))
}
