/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * What sockets know of themselves: the proxy's end learns where the client was
 * going, and questions are answered as if nothing had been redirected.
 */
#pragma once

#include "listeners.h"

enum { LOCAL, REMOTE };

/* Writes one end's address into addr, IPv4 mapped. */
INLINE void end_of(struct bpf_sock_ops *ctx, int remote, __u32 *addr)
{
	if (READ(ctx->family) == AF_INET) {
		addr[0] = 0;
		addr[1] = 0;
		addr[2] = TO_BE32(0xffff);
		if (remote)
			addr[3] = READ(ctx->remote_ip4);
		else
			addr[3] = READ(ctx->local_ip4);
	} else if (remote) {
		addr[0] = READ(ctx->remote_ip6[0]);
		addr[1] = READ(ctx->remote_ip6[1]);
		addr[2] = READ(ctx->remote_ip6[2]);
		addr[3] = READ(ctx->remote_ip6[3]);
	} else {
		addr[0] = READ(ctx->local_ip6[0]);
		addr[1] = READ(ctx->local_ip6[1]);
		addr[2] = READ(ctx->local_ip6[2]);
		addr[3] = READ(ctx->local_ip6[3]);
	}
}

/* The client's end, when its ports are known and nothing is sent yet. */
INLINE void on_connect(struct bpf_sock_ops *ctx, __u64 netns, struct bpf_sock *sk)
{
	struct origin *o = bpf_sk_storage_get(&origins, sk, NULL, 0);
	struct handshake h = {.netns = netns};

	if (o && o->balanced)
		return; /* no proxy accepts it */
	end_of(ctx, LOCAL, h.client);
	end_of(ctx, REMOTE, h.server);
	h.client_port = TO_BE16((__u16)READ(ctx->local_port));
	h.server_port = (__u16)(READ(ctx->remote_port) >> 16);
	if (!o)
		bpf_map_delete_elem(&handshakes, &h); /* of one that was refused, with the same ports */
	else if (bpf_map_update_elem(&handshakes, &h, o, 0))
		count(LOST_ORIGIN); /* the proxy will refuse it */
}

/* The proxy's end. What has no handshake was not redirected, and has no origin. */
INLINE void on_accept(struct bpf_sock_ops *ctx, __u64 netns, struct bpf_sock *sk)
{
	struct handshake h = {.netns = netns};
	struct origin *from, *o;

	end_of(ctx, REMOTE, h.client);
	end_of(ctx, LOCAL, h.server);
	h.client_port = (__u16)(READ(ctx->remote_port) >> 16);
	h.server_port = TO_BE16((__u16)READ(ctx->local_port));
	from = bpf_map_lookup_elem(&handshakes, &h);
	if (!from)
		return;
	o = bpf_sk_storage_get(&origins, sk, from, CREATE);
	if (o)
		o->accepted = 1;
	else
		count(LOST_ORIGIN);
	bpf_map_delete_elem(&handshakes, &h);
}

SEC("sockops")
int shunt_sockops(struct bpf_sock_ops *ctx)
{
	__u32 op = READ(ctx->op);
	struct bpf_sock *sk = ctx->sk;
	__u64 netns;

	if (!sk || (op != ON_CONNECT && op != ON_ACCEPT && op != ON_LISTEN && op != ON_STATE))
		return 1;
	if (op == ON_STATE) {
		on_state(ctx, sk);
		return 1;
	}
	netns = bpf_get_netns_cookie(ctx);
	if (!bpf_map_lookup_elem(&pods, &netns))
		return 1;
	if (op == ON_CONNECT) {
		on_connect(ctx, netns, sk);
	} else if (op == ON_ACCEPT) {
		dont_tell(ctx, pod_of(netns));
		on_accept(ctx, netns, sk);
	} else {
		on_listen(ctx, netns, pod_of(netns), sk);
	}
	return 1;
}

/* SO_ORIGINAL_DST of what the proxy has accepted, as connection tracking would answer. */
INLINE void answer4(struct bpf_sockopt *ctx, struct origin *o)
{
	struct sockaddr_in *a = ctx->optval;

	if ((void *)(a + 1) > ctx->optval_end || o->addr[2] != TO_BE32(0xffff))
		return;
	a->sin_family = AF_INET;
	a->sin_port = o->port;
	a->sin_addr = o->addr[3];
	WRITE(ctx->optlen, sizeof(*a));
	WRITE(ctx->retval, 0);
}

INLINE void answer6(struct bpf_sockopt *ctx, struct origin *o)
{
	struct sockaddr_in6 *a = ctx->optval;

	if ((void *)(a + 1) > ctx->optval_end)
		return;
	a->sin6_family = AF_INET6;
	a->sin6_port = o->port;
	a->sin6_flowinfo = 0;
	for (int i = 0; i < 4; i++)
		a->sin6_addr[i] = o->addr[i];
	a->sin6_scope_id = 0;
	WRITE(ctx->optlen, sizeof(*a));
	WRITE(ctx->retval, 0);
}

SEC("cgroup/getsockopt")
int shunt_getsockopt(struct bpf_sockopt *ctx)
{
	int ours = ctx->optname == SO_ORIGINAL_DST && (ctx->level == SOL_IP || ctx->level == SOL_IPV6);
	struct bpf_sock *sk = ctx->sk;
	struct origin *o = ours && sk ? bpf_sk_storage_get(&origins, sk, NULL, 0) : NULL;

	if (!o || !o->accepted) {
		/* The kernel shows us one page at most, and takes more for a mistake of ours. */
		if (ctx->optlen > 4096)
			WRITE(ctx->optlen, 0);
	} else if (ctx->level == SOL_IP) {
		answer4(ctx, o);
	} else {
		answer6(ctx, o);
	}
	return ALLOW;
}

/* The client's end asks who its peer is. */
INLINE struct origin *peer_of(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct origin *o = sk ? bpf_sk_storage_get(&origins, sk, NULL, 0) : NULL;

	return o && !o->accepted ? o : NULL;
}

SEC("cgroup/getpeername4")
int shunt_getpeername4(struct bpf_sock_addr *ctx)
{
	struct origin *o = peer_of(ctx);

	if (o) {
		WRITE(ctx->user_ip4, o->addr[3]);
		WRITE(ctx->user_port, o->port);
	}
	return ALLOW;
}

SEC("cgroup/getpeername6")
int shunt_getpeername6(struct bpf_sock_addr *ctx)
{
	struct origin *o = peer_of(ctx);

	if (o) {
		WRITE(ctx->user_ip6[0], o->addr[0]);
		WRITE(ctx->user_ip6[1], o->addr[1]);
		WRITE(ctx->user_ip6[2], o->addr[2]);
		WRITE(ctx->user_ip6[3], o->addr[3]);
		WRITE(ctx->user_port, o->port);
	}
	return ALLOW;
}
