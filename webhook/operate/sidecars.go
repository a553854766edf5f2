// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/version"

	"github.com/shuntmesh/shunt/internal/task"
)

// nativeSince is the first minor version of Kubernetes 1 that has native
// sidecars switched on (KEP-753).
const nativeSince = 29

// versionPeriod is how often the version is read again: a cluster is upgraded
// under a running webhook.
const versionPeriod = 10 * time.Minute

// Sidecars knows whether the cluster has native sidecars, by the API server's
// version.
type Sidecars struct {
	read  func(ctx context.Context) ([]byte, error) // the answer to GET /version
	log   *slog.Logger
	known atomic.Pointer[bool]
}

// NewSidecars returns a Sidecars that doesn't know yet; Run finds out.
func NewSidecars(read func(ctx context.Context) ([]byte, error), log *slog.Logger) *Sidecars {
	return &Sidecars{read: read, log: log}
}

// Native says whether the cluster has them; true while that is not known.
func (s *Sidecars) Native() bool {
	native := s.known.Load()
	return native == nil || *native
}

// Ready returns nil once the version was read. It stays so.
func (s *Sidecars) Ready() error {
	if s.known.Load() == nil {
		return errors.New("not ready: the API server's version is not read yet (see the log)")
	}
	return nil
}

// Run reads the version every versionPeriod until ctx ends. Errors are logged
// and tried again.
func (s *Sidecars) Run(ctx context.Context) error {
	retry := task.Backoff{Min: minPause, Max: maxPause}
	for ctx.Err() == nil {
		err := s.update(ctx)
		if err == nil {
			retry.Reset()
			task.Sleep(ctx, versionPeriod)
			continue
		}
		pause := retry.Next()
		if ctx.Err() == nil {
			s.log.Warn("read the API server's version", "err", err, "pause", pause.String())
		}
		task.Sleep(ctx, pause)
	}
	return nil
}

func (s *Sidecars) update(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := s.read(ctx)
	if err != nil {
		return err
	}
	native, err := hasNativeSidecars(text)
	if err != nil {
		return err
	}
	if before := s.known.Swap(&native); before == nil || *before != native {
		s.log.Info("sidecars", "native", native)
	}
	return nil
}

// hasNativeSidecars reads the answer to GET /version. Providers write minor
// versions such as "29+".
func hasNativeSidecars(text []byte) (bool, error) {
	var v version.Info
	if err := json.Unmarshal(text, &v); err != nil {
		return false, fmt.Errorf("parse version: %w", err)
	}
	major, err := strconv.Atoi(v.Major)
	if err != nil {
		return false, fmt.Errorf("parse version: major %q is no number", v.Major)
	}
	digits := strings.TrimRightFunc(v.Minor, func(r rune) bool { return r < '0' || r > '9' })
	minor, err := strconv.Atoi(digits)
	if err != nil {
		return false, fmt.Errorf("parse version: minor %q is no number", v.Minor)
	}
	return major > 1 || major == 1 && minor >= nativeSince, nil
}
