/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * Balancing at connect: services whose connections go to an endpoint at once,
 * and not to the proxy. The node's agent alone writes these maps.
 */
#pragma once

#include "maps.h"

/* An address in network byte order, IPv4 mapped, and a port in network byte order. */
struct place {
	__u32 addr[4];
	__u16 port;
	__u16 reserved;
};

#define MAX_SERVICES 16384 /* MaxServices in balance.go, and so the next one */
#define MAX_PLACES 65536

/*
 * What a service is chosen from is a table: its number, which no two ever have at
 * a time, above 16 bits of how many slots it has. This word is written when the
 * slots are there, and they go when nobody can have read it any more: so a choice
 * is made in one table, and never in a mixture.
 */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, MAX_SERVICES);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct place);
	MAP_TYPE(value, __u64);
} services SEC(".maps");

#define SLOT_BITS 16

/*
 * A table's number above 16 bits of a slot's. A weight is a place in several
 * slots. Behind the slots stand places that get no new connections and keep
 * theirs. There is room for all tables twice, those that hold and the next.
 */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 2 * MAX_PLACES);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, __u64);
	MAP_TYPE(value, struct place);
} slots SEC(".maps");

/* Endpoints that a service has no more, until their connections have been ended. */
struct removal {
	struct place service, endpoint;
};

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, MAX_PLACES);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct removal);
	MAP_TYPE(value, __u32);
} removals SEC(".maps");

/* What choose answers. */
enum { NO_SERVICE, NO_ENDPOINT, CHOSEN };

/*
 * A slot that is gone belonged to a table that was replaced meanwhile: the word is
 * read again, and so it is where it says that there is none, since an element of a
 * map that was just replaced can hold another's.
 */
#define MAX_CHOICES 4

/* Writes an endpoint of the service. It is not static: see position. */
__attribute__((noinline)) int choose(struct place *service, struct place *endpoint)
{
	if (!service || !endpoint)
		return NO_SERVICE;
	for (int i = 0; i < MAX_CHOICES; i++) {
		__u64 *found = bpf_map_lookup_elem(&services, service);

		if (!found)
			return NO_SERVICE;
		__u64 word = *(volatile __u64 *)found;
		__u32 count = word & ((1 << SLOT_BITS) - 1);

		if (!count)
			continue;
		__u64 key = word >> SLOT_BITS << SLOT_BITS | bpf_get_prandom_u32() % count;
		struct place *at = bpf_map_lookup_elem(&slots, &key);

		if (!at)
			continue;
		*endpoint = *at;
		return CHOSEN;
	}
	return NO_ENDPOINT;
}

/* Whether a socket was balanced to an endpoint that its service has no more. */
INLINE int is_removed(struct sock_common *sk, struct origin *o)
{
	struct removal r = {};

	if (!o->balanced || sk->skc_state == TCP_CLOSE)
		return 0;
	for (int i = 0; i < 4; i++)
		r.service.addr[i] = o->addr[i];
	r.service.port = o->port;
	if (sk->skc_family == AF_INET) {
		r.endpoint.addr[2] = TO_BE32(0xffff);
		r.endpoint.addr[3] = sk->skc_daddr;
	} else {
		for (int i = 0; i < 4; i++)
			r.endpoint.addr[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
	}
	r.endpoint.port = sk->skc_dport;
	return bpf_map_lookup_elem(&removals, &r) != NULL;
}

/* Such a socket, for whoever ends it. */
struct doomed {
	__u64 netns, cookie;
	__u32 own[4], peer[4]; /* as in a place, but IPv4 is the first word alone */
	__u16 own_port, peer_port;
	__u32 family;
	__u32 device; /* that it is bound to; 0 is none */
	__u32 reserved;
};

/*
 * Lists them, of all namespaces: what it goes through are the sockets that have an
 * origin. It can't end them, since they are not locked.
 */
SEC("iter/bpf_sk_storage_map")
int shunt_removed(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct origin *o = ctx->value;
	struct sock_common *sk = (struct sock_common *)ctx->sk; /* a sock begins with it */
	struct doomed d = {};

	if (!sk || !o || !is_removed(sk, o))
		return 0;
	d.netns = sk->skc_net.net->net_cookie;
	d.cookie = bpf_get_socket_cookie(sk);
	d.family = sk->skc_family;
	if (d.family == AF_INET) {
		d.own[0] = sk->skc_rcv_saddr;
		d.peer[0] = sk->skc_daddr;
	} else {
		for (int i = 0; i < 4; i++) {
			d.own[i] = sk->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			d.peer[i] = sk->skc_v6_daddr.in6_u.u6_addr32[i];
		}
	}
	d.own_port = TO_BE16(sk->skc_num);
	d.peer_port = sk->skc_dport;
	d.device = sk->skc_bound_dev_if;
	bpf_seq_write(ctx->meta->seq, &d, sizeof(d));
	return 0;
}

/*
 * Ends them, of the reader's namespace, and writes a byte for each. It is loaded
 * where the kernel has bpf_sock_destroy (Linux 6.5).
 */
SEC("iter/tcp")
int shunt_destroy(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct origin *o = sk ? bpf_sk_storage_get(&origins, sk, NULL, 0) : NULL;
	char one = 1;

	if (!o || !is_removed(sk, o) || bpf_sock_destroy(sk))
		return 0;
	count(DESTROYED);
	bpf_seq_write(ctx->meta->seq, &one, sizeof(one));
	return 0;
}
