/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * What sockets do that listen: the proxy's are kept, and all are counted, from
 * when they begin until they end. Those that were there before are found.
 */
#pragma once

#include "listening.h"

/* The proxy's listeners are kept themselves, all are counted. */
INLINE void on_listen(struct bpf_sock_ops *ctx, __u64 netns, struct pod pod, struct bpf_sock *sk)
{
	struct listener l = {.netns = netns};

	l.port = (__u16)READ(ctx->local_port);
	l.family = (__u16)READ(ctx->family);
	if (l.port == pod.inbound_port && bpf_sock_hash_update(ctx, &listeners, &l, 0))
		count(LOST_LISTENER);
	if (!pod.kept)
		return;
	struct sock_common *common = (struct sock_common *)bpf_skc_to_tcp_sock(sk);

	if (common)
		count_listener(pod, netns, common, bpf_sk_storage_get(&seats, sk, NULL, CREATE));
	bpf_sock_ops_cb_flags_set(ctx, READ(ctx->bpf_sock_ops_cb_flags) | TELL_STATE);
}

/* Accepted sockets inherit from their listener that somebody wants to be told. */
INLINE void dont_tell(struct bpf_sock_ops *ctx, struct pod pod)
{
	__u32 flags = READ(ctx->bpf_sock_ops_cb_flags);

	if (pod.kept && flags & TELL_STATE)
		bpf_sock_ops_cb_flags_set(ctx, flags & ~TELL_STATE);
}

/* A socket that listened does so no more. Others' flags tell of sockets that never did. */
INLINE void on_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct seats *p = READ(ctx->args[0]) == TCP_LISTEN ? bpf_sk_storage_get(&seats, sk, NULL, 0) : NULL;

	if (!p)
		return;
	count_out(&p->in[0]);
	count_out(&p->in[1]);
	bpf_sk_storage_delete(&seats, sk);
}

/*
 * Its end is told to shunt_sockops. Before Linux 6.12 it can't be, for listeners
 * that were there before: they count until the next Apply.
 */
INLINE void tell_state(struct sock_common *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	int flags = tcp ? tcp->bpf_sock_ops_cb_flags | TELL_STATE : 0;

	if (tcp)
		bpf_setsockopt(sk, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
}

/* What is read of the iterator. */
struct found {
	struct ear ear;
	__u64 counted; /* in its roll */
};

/* Tells of a socket where it listens, and whether the roll has it. */
INLINE void tell(struct bpf_iter__tcp *ctx, __u8 number, __u64 netns)
{
	struct sock_common *sk = ctx->sk_common;
	struct heard *roll = roll_of(netns, number);
	struct found f = {};
	struct seats *p;

	if (!sk)
		return;
	p = bpf_sk_storage_get(&seats, sk, NULL, 0);
	find_ear(sk, netns, &f.ear);
	f.ear.roll = number;
	f.counted = p && roll && seat_in(p, number)->id == roll->id;
	bpf_seq_write(ctx->meta->seq, &f, sizeof(f));
}

/*
 * Listeners that were there before: reading the pinned iterator in a namespace
 * finds them. Where one roll is kept that is asked, it only tells of them.
 */
SEC("iter/tcp")
int shunt_listeners(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct listener l = {};
	struct pod pod;

	if (!sk || sk->skc_state != TCP_LISTEN)
		return 0;
	l.netns = sk->skc_net.net->net_cookie;
	l.port = sk->skc_num;
	l.family = sk->skc_family;
	pod = pod_of(l.netns);
	if (pod.kept && pod.kept == pod.asked) {
		tell(ctx, pod.asked, l.netns);
		return 0;
	}
	if (l.port == pod.inbound_port && bpf_map_update_elem(&listeners, &l, sk, 0))
		count(LOST_LISTENER);
	if (pod.kept) {
		count_listener(pod, l.netns, sk, bpf_sk_storage_get(&seats, sk, NULL, CREATE));
		tell_state(sk);
	}
	return 0;
}
