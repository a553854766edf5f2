// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/pprof/profile"
)

// mergeProfiles makes one of the profiles that our processes have left. It says
// nothing of this machine.
func (r *run) mergeProfiles() error {
	if r.Profile == "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(r.setup.Profiles, "*.pprof"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return errors.New("merge profiles: none was written (does -only name a scenario with load, and -targets ours?)")
	}
	var parts []*profile.Profile
	for _, path := range paths {
		p, err := readProfile(path)
		if err != nil {
			return err
		}
		for _, m := range p.Mapping {
			m.File, m.BuildID = "", ""
		}
		parts = append(parts, p)
	}
	merged, err := profile.Merge(parts)
	if err != nil {
		return fmt.Errorf("merge profiles: %w", err)
	}
	merged.TimeNanos = 0
	out, err := os.Create(r.Profile)
	if err != nil {
		return fmt.Errorf("make profile: %w", err)
	}
	return errors.Join(merged.Write(out), out.Close())
}

func readProfile(path string) (p *profile.Profile, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open profile: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if p, err = profile.Parse(f); err != nil {
		return nil, fmt.Errorf("parse profile %s: %w", path, err)
	}
	return p, nil
}
