/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * Inbound: the kernel looks for the listener of a new connection. What is
 * captured gets the proxy's, whatever its port; its socket keeps the address
 * that was called.
 */
#pragma once

#include "listening.h"

INLINE void *listener_of(__u64 netns, __u16 port, __u16 family)
{
	struct listener l = {.netns = netns, .port = port, .family = family};

	return bpf_map_lookup_elem(&listeners, &l);
}

/* A listener on [::] takes IPv4 too. Nobody listening is a refusal. */
INLINE int assign(struct bpf_sk_lookup *ctx, __u64 netns, __u16 port, int ipv4)
{
	void *sk = ipv4 ? listener_of(netns, port, AF_INET) : NULL;
	long error;

	if (!sk)
		sk = listener_of(netns, port, AF_INET6);
	if (!sk) {
		count(REFUSED_NO_PROXY);
		return SK_DROP;
	}
	error = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	count(error ? REFUSED_NO_PROXY : CAPTURED_IN);
	return error ? SK_DROP : SK_PASS;
}

SEC("sk_lookup")
int shunt_lookup(struct bpf_sk_lookup *ctx)
{
	__u32 first = 0;
	__u64 *cookie = bpf_map_lookup_elem(&arriving, &first);
	__u64 netns = cookie ? *cookie : 0;
	struct pod pod = pod_of(netns);
	struct policy p = {.netns = netns, .generation = pod.generation};
	struct verdict v = {.action = ACTION_PASS};
	struct flow f = {};
	struct head *h;

	if (!p.generation || READ(ctx->protocol) != IPPROTO_TCP)
		return SK_PASS;
	h = entry_at(&p, 0);
	if (!h) {
		count(REFUSED_POLICY);
		return SK_DROP;
	}
	int ipv4 = READ(ctx->family) == AF_INET;

	if (ipv4) {
		f.field[FIELD_SOURCE] = wide4(READ(ctx->remote_ip4));
		f.field[FIELD_DEST] = wide4(READ(ctx->local_ip4));
	} else {
		f.field[FIELD_SOURCE] = wide6(READ(ctx->remote_ip6[0]), READ(ctx->remote_ip6[1]), READ(ctx->remote_ip6[2]), READ(ctx->remote_ip6[3]));
		f.field[FIELD_DEST] = wide6(READ(ctx->local_ip6[0]), READ(ctx->local_ip6[1]), READ(ctx->local_ip6[2]), READ(ctx->local_ip6[3]));
	}
	f.field[FIELD_PORT].low = (__u16)READ(ctx->local_port);
	/* Settled by connect already. The interface doesn't tell: to the pod's own
	 * address it is that which has the address. */
	if (is_own(&p, h, &f.field[FIELD_SOURCE]) || (f.field[FIELD_SOURCE].high == f.field[FIELD_DEST].high && f.field[FIELD_SOURCE].low == f.field[FIELD_DEST].low))
		return SK_PASS;
	if (pod.asked)
		f.field[FIELD_HEARD].low = is_heard(netns, pod.asked, &f, tells_device() ? READ(ctx->ingress_ifindex) : 0);
	judge_chain(&p, h->chain[ipv4 ? CHAIN_IN4 : CHAIN_IN6], &f, &v);
	if (v.action == ACTION_REFUSE)
		return SK_DROP;
	/* Who begins to listen at this moment is not reached past the proxy. */
	if (v.action == ACTION_PASS)
		return v.closed ? SK_DROP : SK_PASS;
	return assign(ctx, netns, v.port, ipv4);
}
