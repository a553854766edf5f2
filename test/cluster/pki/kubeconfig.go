// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
)

const kubeconfigForm = `apiVersion: v1
kind: Config
clusters:
- name: shunt-test
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: shunt-test
  context: {cluster: shunt-test, user: %[3]s}
current-context: shunt-test
`

// Kubeconfig writes the kubeconfig of the identity that was filed as name. It refers to no other file.
func (a *Authority) Kubeconfig(path, server, name string) error {
	var encoded [3]string
	for i, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		text, err := os.ReadFile(filepath.Join(a.dir, file))
		if err != nil {
			return fmt.Errorf("make the kubeconfig of %s: %w", name, err)
		}
		encoded[i] = base64.StdEncoding.EncodeToString(text)
	}
	text := fmt.Sprintf(kubeconfigForm, server, encoded[0], name, encoded[1], encoded[2])
	half := path + ".half"
	if err := os.WriteFile(half, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", name, err)
	}
	if err := os.Rename(half, path); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", name, err)
	}
	return nil
}
