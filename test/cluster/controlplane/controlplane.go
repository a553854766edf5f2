// SPDX-License-Identifier: Apache-2.0

// Package controlplane says what the machine of the control plane is made of: etcd, the API server, the controller manager
// and the scheduler, with their certificates. It writes only to the state directory.
package controlplane

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/pki"
)

// etcdURL is inside the control plane's network namespace only.
const etcdURL = "http://127.0.0.1:2379"

// Server is the API server's URL.
func Server() string {
	return "https://" + netip.AddrPortFrom(layout.APIAddress, layout.APIPort).String()
}

// Certify makes the certificates and kubeconfigs of the control plane, of the administrator and of kube-proxy.
func Certify(a *pki.Authority, state layout.State) error {
	if err := a.Issue(pki.Identity{
		Name: "kube-apiserver", CommonName: "kube-apiserver",
		DNSNames: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + layout.DNSDomain, "localhost",
		},
		Addresses: []netip.Addr{layout.APIAddress, layout.APIService, netip.AddrFrom4([4]byte{127, 0, 0, 1})},
	}); err != nil {
		return err
	}
	if err := a.KeyPair("service-account"); err != nil {
		return err
	}
	clients := []pki.Identity{
		{Name: "admin", CommonName: "shunt-test-admin", Organization: "system:masters"},
		{Name: "kubelet-client", CommonName: "kube-apiserver-kubelet-client", Organization: "system:masters"},
		{Name: "kube-controller-manager", CommonName: "system:kube-controller-manager"},
		{Name: "kube-scheduler", CommonName: "system:kube-scheduler"},
		{Name: "kube-proxy", CommonName: "system:kube-proxy"},
	}
	for _, id := range clients {
		if err := a.Issue(id); err != nil {
			return err
		}
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if err := a.Kubeconfig(state.Path(name+".kubeconfig"), Server(), name); err != nil {
			return err
		}
	}
	return a.Kubeconfig(state.Kubeconfig(), Server(), "admin")
}

// Spec says what the machine is made of. bin holds the binaries, join the cgroup files.
func Spec(state layout.State, bin string, join []string) machine.Spec {
	return machine.Spec{
		Name: layout.ControlPlane, State: state, Cgroup: layout.ControlPlaneCgroup, Join: join,
		Mounts: []machine.Mount{
			{Kind: "proc", Target: "/proc"},
			{Kind: "tmpfs", Target: "/run"},
		},
		Services: []machine.Service{
			{Name: "etcd", Args: etcd(state, bin)},
			{Name: "kube-apiserver", Args: apiServer(state, bin), After: []string{"tcp:127.0.0.1:2379"}},
			{Name: "kube-controller-manager", Args: controllerManager(state, bin), After: []string{apiServerUp()}},
			{Name: "kube-scheduler", Args: scheduler(state, bin), After: []string{apiServerUp()}},
		},
	}
}

func apiServerUp() string { return fmt.Sprintf("tcp:%s:%d", layout.APIAddress, layout.APIPort) }

func etcd(state layout.State, bin string) []string {
	const peer = "http://127.0.0.1:2380"
	return []string{
		filepath.Join(bin, "etcd"),
		"--name=shunt", "--data-dir=" + state.Path(layout.ControlPlane, "etcd"),
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=shunt=" + peer,
		// A test cluster doesn't outlive its machine, and a slow disk must not stall it.
		"--unsafe-no-fsync", "--log-level=warn",
	}
}

func apiServer(state layout.State, bin string) []string {
	cert := func(name string) string { return state.Path("pki", name) }
	return []string{
		filepath.Join(bin, "kube-apiserver"),
		"--etcd-servers=" + etcdURL,
		"--advertise-address=" + layout.APIAddress.String(),
		fmt.Sprintf("--secure-port=%d", layout.APIPort),
		"--tls-cert-file=" + cert("kube-apiserver.crt"), "--tls-private-key-file=" + cert("kube-apiserver.key"),
		"--client-ca-file=" + cert("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc." + layout.DNSDomain,
		"--service-account-key-file=" + cert("service-account.pub"),
		"--service-account-signing-key-file=" + cert("service-account.key"),
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--kubelet-certificate-authority=" + cert("ca.crt"),
		"--kubelet-client-certificate=" + cert("kubelet-client.crt"), "--kubelet-client-key=" + cert("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		// Webhooks are called at a pod's address: there is no kube-proxy here, so a Service's address leads nowhere.
		"--enable-aggregator-routing=true",
		"--profiling=false",
	}
}

func controllerManager(state layout.State, bin string) []string {
	cert := func(name string) string { return state.Path("pki", name) }
	return []string{
		filepath.Join(bin, "kube-controller-manager"),
		"--kubeconfig=" + state.Path("kube-controller-manager.kubeconfig"),
		"--service-account-private-key-file=" + cert("service-account.key"),
		"--root-ca-file=" + cert("ca.crt"),
		"--cluster-signing-cert-file=" + cert("ca.crt"), "--cluster-signing-key-file=" + cert("ca.key"),
		"--use-service-account-credentials=true", "--leader-elect=false",
		// It makes the directory that it looks into; the default is the host's /usr/libexec/kubernetes.
		"--flex-volume-plugin-dir=" + state.Path("volume-plugins"),
		// Tests measure seconds: no client-side throttle may stand between an event and what follows from it.
		"--kube-api-qps=300", "--kube-api-burst=600",
		"--profiling=false",
	}
}

func scheduler(state layout.State, bin string) []string {
	return []string{
		filepath.Join(bin, "kube-scheduler"),
		"--kubeconfig=" + state.Path("kube-scheduler.kubeconfig"),
		"--leader-elect=false", "--kube-api-qps=300", "--kube-api-burst=600",
		"--profiling=false",
	}
}
