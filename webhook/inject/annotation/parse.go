// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Bounds of values. They are far from what anybody needs, and near enough to
// show a unit that was mixed up: memory of "100m" is a tenth of a byte.
const (
	maxConcurrency = 64
	minDrain       = time.Second
	maxWait        = time.Hour
	cpuValues      = "CPU from 0 to 256, such as 100m or 2"
	memoryValues   = "memory from 8Mi to 1Ti, such as 64Mi"
	maxImage       = 512 // bytes; a host, a path of 255 and a digest need fewer
	maxQuantity    = 32  // bytes
	maxExponent    = 3   // bytes, with its sign
)

// notAllowed is the error of every bad value.
func notAllowed(value, allowed string) error {
	return fmt.Errorf("%q is not possible (allowed: %s)", value, allowed)
}

// value sets dst to what parse makes of a text.
func value[T any](dst *T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		v, err := parse(text)
		if err != nil {
			return err
		}
		*dst = v
		return nil
	}
}

// maybe is value for settings that can be absent.
func maybe[T any](dst **T, parse func(string) (T, error)) func(string) error {
	return func(text string) error {
		v, err := parse(text)
		if err != nil {
			return err
		}
		*dst = &v
		return nil
	}
}

// choice takes one of the words, which may be spelt in more than one way.
func choice[T any](dst *T, words map[string]T, allowed string) func(string) error {
	return value(dst, func(text string) (T, error) {
		v, known := words[text]
		if !known {
			return v, notAllowed(text, allowed)
		}
		return v, nil
	})
}

func pullPolicies() map[string]corev1.PullPolicy {
	words := make(map[string]corev1.PullPolicy)
	for _, p := range []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever} {
		words[string(p)] = p
	}
	return words
}

// boolean takes two words alone: "yes" and "1" would be read differently by
// whoever else reads the annotation.
func boolean(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, notAllowed(text, "true, false")
	}
	return text == "true", nil
}

func number(low, high int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high || strconv.Itoa(n) != text {
			return 0, notAllowed(text, fmt.Sprintf("a number from %d to %d", low, high))
		}
		return n, nil
	}
}

func durations(low, high time.Duration) string {
	return fmt.Sprintf("a time from %v to %v, such as 10s or 1m30s", low, high)
}

func duration(low, high time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d < low || d > high {
			return 0, notAllowed(text, durations(low, high))
		}
		return d, nil
	}
}

func cpu(text string) (resource.Quantity, error) {
	return quantity(text, resource.MustParse("0"), resource.MustParse("256"), cpuValues)
}

func memory(text string) (resource.Quantity, error) {
	return quantity(text, resource.MustParse("8Mi"), resource.MustParse("1Ti"), memoryValues)
}

// quantity reads no long number, and no large exponent: a Quantity is exact, and
// that of "1e-666666333" keeps a core of the webhook at work for minutes.
func quantity(text string, low, high resource.Quantity, allowed string) (resource.Quantity, error) {
	if _, exponent, _ := strings.Cut(strings.ToLower(text), "e"); len(text) > maxQuantity || len(exponent) > maxExponent {
		return resource.Quantity{}, notAllowed(text, allowed)
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Cmp(low) < 0 || q.Cmp(high) > 0 {
		return resource.Quantity{}, notAllowed(text, allowed)
	}
	return q, nil
}

// image takes what could name an image. Whether it exists shows when it is
// pulled; a blank or a quote in it is a slip that should show now.
func image(text string) (string, error) {
	const allowed = "an image such as registry.example.com/dataplane:0.1.0"
	if text == "" || len(text) > maxImage {
		return "", notAllowed(text, allowed)
	}
	for i, c := range []byte(text) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || !strings.ContainsRune(".-_/:@", rune(c))) {
			return "", notAllowed(text, allowed)
		}
	}
	return text, nil
}
