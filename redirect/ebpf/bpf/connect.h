/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * Outbound: connect(2) in a pod. What is captured goes to the proxy's port on
 * loopback instead, from the address that it would have had.
 */
#pragma once

#include "balance.h"
#include "judge.h"

/* Who owns a socket is told as netfilter's owner match does, by the file's credentials. */
INLINE void find_owner(struct bpf_sock *sk, struct flow *f)
{
	struct sock *s = (struct sock *)bpf_skc_to_tcp_sock(sk);
	struct socket *socket = s ? s->sk_socket : NULL;
	struct file *file = socket ? socket->file : NULL;
	const struct cred *cred = file ? file->f_cred : NULL;

	f->field[FIELD_UID].low = f->field[FIELD_GID].low = ~0ULL; /* nobody */
	if (!cred)
		return;
	f->field[FIELD_UID].low = cred->fsuid.val;
	f->field[FIELD_GID].low = cred->fsgid.val;
}

/* The error that connect(2) returns; EPERM before Linux 5.18. */
INLINE int refuse(int error)
{
	if (__builtin_preserve_enum_value(*(enum bpf_func_id *)BPF_FUNC_set_retval, 0))
		bpf_set_retval(-error);
	return DENY;
}

/* Where a connection is going. */
INLINE struct place destination(struct flow *f)
{
	struct wide *w = &f->field[FIELD_DEST];

	return (struct place){
		.addr = {TO_BE32((__u32)(w->high >> 32)), TO_BE32((__u32)w->high), TO_BE32((__u32)(w->low >> 32)), TO_BE32((__u32)w->low)},
		.port = TO_BE16((__u16)f->field[FIELD_PORT].low),
	};
}

/* Where a connection was going; a socket that is used anew forgets it. */
INLINE int remember(struct bpf_sock *sk, struct flow *f, int balanced)
{
	struct origin *o = bpf_sk_storage_get(&origins, sk, NULL, CREATE);
	struct place to = destination(f);

	if (!o) {
		count(REFUSED_NO_STORAGE);
		return 0;
	}
	for (int i = 0; i < 4; i++)
		o->addr[i] = to.addr[i];
	o->port = to.port;
	o->accepted = 0;
	o->balanced = balanced;
	return 1;
}

/*
 * A socket that is bound to an interface doesn't reach loopback. It is set free,
 * which the kernel allows where the application may bind it anew (CAP_NET_RAW).
 */
INLINE int unbind_device(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	char none[1] = {};

	if (READ(sk->bound_dev_if) <= LOOPBACK_INDEX ||
	    !bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none)))
		return 1;
	count(REFUSED_DEVICE);
	return 0;
}

/* Beside what a policy says: the connection goes to an endpoint of its service. */
enum { ACTION_BALANCE = ACTION_REFUSE + 1 };

/* Which address a captured connection has, where it has none yet. */
static __attribute__((noinline)) int find_source(struct policy *p, struct head *h, struct flow *f, struct verdict *v)
{
	int at;

	if (!is_unspecified(f->field[FIELD_SOURCE]))
		return 0;
	if (f->field[FIELD_INSIDE].low) {
		f->field[FIELD_SOURCE] = f->field[FIELD_DEST];
		return 0;
	}
	at = position_in(p, &h->routes, &f->field[FIELD_DEST]);
	struct range *source = at < 0 ? NULL : entry_at(p, h->sources + at);

	if (!source) {
		count(REFUSED_NO_ROUTE);
		v->action = ACTION_REFUSE;
		return ENETUNREACH;
	}
	f->field[FIELD_SOURCE] = source->first;
	return 0;
}

/* Whether a captured connection is to a service that is balanced here; what becomes of it is in v and to. */
INLINE int is_balanced(struct flow *f, struct verdict *v, struct place *to)
{
	struct place service = destination(f);

	if (f->field[FIELD_INSIDE].low)
		return 0;
	switch (choose(&service, to)) {
	case CHOSEN:
		v->action = ACTION_BALANCE;
		return 1;
	case NO_ENDPOINT:
		count(REFUSED_NO_ENDPOINT);
		v->action = ACTION_REFUSE;
		return 1;
	default:
		return 0;
	}
}

/*
 * What connect4 and connect6 have in common: the answer is in v, the pod's address
 * in f->field[FIELD_SOURCE], and in to the endpoint for ACTION_BALANCE.
 */
static __attribute__((noinline)) int judge_connect(struct policy *p, struct flow *f, struct verdict *v, struct place *to)
{
	struct head *h = entry_at(p, 0);

	if (!h) {
		count(REFUSED_POLICY);
		v->action = ACTION_REFUSE;
		return 0;
	}
	if (is_unspecified(f->field[FIELD_DEST])) {
		if (is_unspecified(f->field[FIELD_SOURCE]))
			return 0; /* loopback, which nobody captures */
		f->field[FIELD_DEST] = f->field[FIELD_SOURCE];
	}
	f->field[FIELD_INSIDE].low = is_own(p, h, &f->field[FIELD_DEST]);
	judge_chain(p, h->chain[is_ipv4(f->field[FIELD_DEST]) ? CHAIN_OUT4 : CHAIN_OUT6], f, v);
	if (v->action != ACTION_CAPTURE || is_balanced(f, v, to))
		return 0;
	return find_source(p, h, f, v);
}

/* Returns whether somebody steers this socket, and how. */
INLINE int find_policy(struct bpf_sock_addr *ctx, struct policy *p)
{
	if (READ(ctx->type) != SOCK_STREAM || READ(ctx->protocol) != IPPROTO_TCP)
		return 0;
	p->netns = bpf_get_netns_cookie(ctx);
	p->generation = pod_of(p->netns).generation;
	return p->generation != 0;
}

SEC("cgroup/connect4")
int shunt_connect4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct policy p = {};
	struct flow f = {};
	struct verdict v = {.action = ACTION_PASS};
	struct place to = {};
	__u32 addr, chosen;
	int error;

	if (!sk || !find_policy(ctx, &p))
		return ALLOW;
	addr = READ(ctx->user_ip4);
	chosen = sk->src_ip4;
	f.field[FIELD_DEST] = wide4(addr);
	f.field[FIELD_SOURCE] = wide4(chosen);
	f.field[FIELD_PORT].low = TO_BE16((__u16)READ(ctx->user_port));
	find_owner(sk, &f);
	error = judge_connect(&p, &f, &v, &to);
	if (v.action == ACTION_REFUSE)
		return refuse(error ? error : ECONNREFUSED);
	if (v.action == ACTION_PASS) {
		bpf_sk_storage_delete(&origins, sk);
		return ALLOW;
	}
	if (v.action == ACTION_BALANCE) {
		if (!remember(sk, &f, 1))
			return refuse(ECONNREFUSED);
		WRITE(ctx->user_ip4, to.addr[3]);
		WRITE(ctx->user_port, to.port);
		count(BALANCED);
		return ALLOW;
	}
	if (!unbind_device(ctx, sk) || !remember(sk, &f, 0))
		return refuse(ECONNREFUSED);
	if (!chosen) {
		struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = TO_BE32((__u32)f.field[FIELD_SOURCE].low)};

		if (bpf_bind(ctx, &own, sizeof(own)))
			count(UNBOUND);
	}
	WRITE(ctx->user_ip4, TO_BE32(0x7f000001));
	WRITE(ctx->user_port, TO_BE16(v.port));
	count(CAPTURED_OUT);
	return ALLOW;
}

SEC("cgroup/connect6")
int shunt_connect6(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct policy p = {};
	struct flow f = {};
	struct verdict v = {.action = ACTION_PASS};
	struct place to = {};
	int error, mapped;

	if (!sk || !find_policy(ctx, &p))
		return ALLOW;
	f.field[FIELD_DEST] = wide6(READ(ctx->user_ip6[0]), READ(ctx->user_ip6[1]), READ(ctx->user_ip6[2]), READ(ctx->user_ip6[3]));
	f.field[FIELD_SOURCE] = wide6(READ(sk->src_ip6[0]), READ(sk->src_ip6[1]), READ(sk->src_ip6[2]), READ(sk->src_ip6[3]));
	f.field[FIELD_PORT].low = TO_BE16((__u16)READ(ctx->user_port));
	find_owner(sk, &f);
	int chosen = !is_unspecified(f.field[FIELD_SOURCE]);

	error = judge_connect(&p, &f, &v, &to);
	if (v.action == ACTION_REFUSE)
		return refuse(error ? error : ECONNREFUSED);
	if (v.action == ACTION_PASS) {
		bpf_sk_storage_delete(&origins, sk);
		return ALLOW;
	}
	if (v.action == ACTION_BALANCE) {
		if (!remember(sk, &f, 1))
			return refuse(ECONNREFUSED);
		for (int i = 0; i < 4; i++)
			WRITE(ctx->user_ip6[i], to.addr[i]);
		WRITE(ctx->user_port, to.port);
		count(BALANCED);
		return ALLOW;
	}
	mapped = is_ipv4(f.field[FIELD_DEST]);
	if (!unbind_device(ctx, sk) || !remember(sk, &f, 0))
		return refuse(ECONNREFUSED);
	if (!chosen && !is_unspecified(f.field[FIELD_SOURCE])) {
		struct sockaddr_in6 own = {
			.sin6_family = AF_INET6,
			.sin6_addr = {TO_BE32((__u32)(f.field[FIELD_SOURCE].high >> 32)), TO_BE32((__u32)f.field[FIELD_SOURCE].high),
				      TO_BE32((__u32)(f.field[FIELD_SOURCE].low >> 32)), TO_BE32((__u32)f.field[FIELD_SOURCE].low)},
		};

		if (bpf_bind(ctx, &own, sizeof(own)))
			count(UNBOUND);
	}
	WRITE(ctx->user_ip6[0], 0);
	WRITE(ctx->user_ip6[1], 0);
	WRITE(ctx->user_ip6[2], mapped ? TO_BE32(MAPPED) : 0);
	WRITE(ctx->user_ip6[3], mapped ? TO_BE32(0x7f000001) : TO_BE32(1));
	WRITE(ctx->user_port, TO_BE16(v.port));
	count(CAPTURED_OUT);
	return ALLOW;
}
