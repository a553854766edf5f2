/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * Who listens in a pod, so that a connection to a port on which nobody does is
 * refused and not captured. Sockets are counted by where they listen: when they
 * begin, when they end, and once more in each Apply, by the iterator. The kernel
 * holds a socket's lock at each of these moments, so that they are one after the
 * other for each socket.
 *
 * A count that went wrong would stay wrong. So each Apply counts afresh, under
 * another roll: while it does, sockets are counted in both, and one word in pods
 * says which of them is asked.
 */
#pragma once

#include "judge.h"

/* Where a socket listens, in one roll. A port of 0 is the roll itself. */
struct ear {
	__u64 netns;
	struct wide addr; /* one address; 0.0.0.0, [::] alone, or BOTH */
	__u32 device;     /* that it is bound to; 0 is none */
	__u16 port;
	__u8 roll;
	__u8 reserved;
};

/* Stands for a listener at [::] that takes IPv4 too. As an address it is multicast, at which nobody listens. */
#define BOTH (~0ULL)

/*
 * How many sockets listen there. Of a roll: how many listen at places that found
 * no room. While there are any, nobody can tell which ports are closed, and none
 * is taken to be.
 */
struct heard {
	struct bpf_spin_lock lock;
	__u32 sockets;
	__u32 gone;   /* the last one has left, and the entry is about to */
	__u32 ears;   /* of a roll: how many it holds */
	__u64 id;     /* of a roll: no other one ever has it */
};

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct ear);
	MAP_TYPE(value, struct heard);
} listening SEC(".maps");

#define MAX_EARS 1024 /* of a roll, so that one pod doesn't take the room of all */

/*
 * So many places stay in a roll when nobody listens there any more, until the
 * next one: with SO_REUSEPORT somebody may come while the last one goes, and would
 * have to wait for the entry to be gone.
 */
#define LASTING_EARS 64
#define TURNS 64 /* that it is waited for */

/* What is remembered of a socket that listens, on the socket itself: its seat in a roll. */
struct seat {
	struct ear ear;
	__u64 id;      /* of the roll; 0 is none */
	__u64 no_room; /* for the place, so that the roll itself has the socket */
};

struct seats {
	struct seat in[2]; /* roll 1, roll 2 */
};

struct {
	MAP_UINT(type, MAP_SK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct seats);
} seats SEC(".maps");

INLINE struct heard *roll_of(__u64 netns, __u8 roll)
{
	struct ear key = {.netns = netns, .roll = roll};

	return bpf_map_lookup_elem(&listening, &key);
}

/* Where a socket listens. */
INLINE void find_ear(struct sock_common *sk, __u64 netns, struct ear *e)
{
	e->netns = netns;
	e->port = sk->skc_num;
	/* Before Linux 5.17 an incoming connection doesn't tell its interface. */
	e->device = tells_device() ? sk->skc_bound_dev_if : 0;
	if (sk->skc_family == AF_INET) {
		e->addr = wide4(sk->skc_rcv_saddr);
		return;
	}
	e->addr = wide6(sk->skc_v6_rcv_saddr.in6_u.u6_addr32[0], sk->skc_v6_rcv_saddr.in6_u.u6_addr32[1],
			sk->skc_v6_rcv_saddr.in6_u.u6_addr32[2], sk->skc_v6_rcv_saddr.in6_u.u6_addr32[3]);
	if (e->addr.high == 0 && e->addr.low == 0 && !FLAG(sk, skc_ipv6only))
		e->addr.high = e->addr.low = BOTH;
}

/* Returns whether there was room. An entry that is about to go is waited for. */
INLINE int enter(struct ear *key, struct heard *roll)
{
	struct heard first = {.sockets = 1};
	int alive = 0;

	for (int i = 0; i < TURNS; i++) {
		struct heard *h = bpf_map_lookup_elem(&listening, key);

		if (h) {
			bpf_spin_lock(&h->lock);
			alive = !h->gone;
			if (alive)
				h->sockets++;
			bpf_spin_unlock(&h->lock);
			if (alive)
				return 1;
		} else if (roll->ears >= MAX_EARS) {
			return 0;
		} else {
			long error = bpf_map_update_elem(&listening, key, &first, NO_EXIST);

			if (!error)
				__sync_fetch_and_add(&roll->ears, 1);
			if (error != -EEXIST)
				return !error;
		}
	}
	return 0;
}

INLINE void leave(struct ear *key, struct heard *roll)
{
	struct heard *h = bpf_map_lookup_elem(&listening, key);
	int gone;

	if (!h)
		return;
	bpf_spin_lock(&h->lock);
	if (h->sockets)
		h->sockets--;
	gone = h->gone = h->sockets == 0 && roll->ears > LASTING_EARS;
	bpf_spin_unlock(&h->lock);
	if (gone && !bpf_map_delete_elem(&listening, key))
		__sync_fetch_and_add(&roll->ears, -1);
}

/* Counts a socket in a roll, unless it is. */
static __attribute__((noinline)) int count_in(struct seat *p, struct ear *e, __u8 number)
{
	struct heard *roll = roll_of(e->netns, number);

	if (!p || !roll || p->id == roll->id)
		return 0;
	p->ear = *e;
	p->ear.roll = number;
	p->id = roll->id;
	struct ear key = p->ear;

	p->no_room = !enter(&key, roll);
	if (p->no_room) {
		__sync_fetch_and_add(&roll->sockets, 1);
		count(UNCOUNTED_LISTENER);
	}
	return 0;
}

static __attribute__((noinline)) int count_out(struct seat *p)
{
	if (!p || !p->id)
		return 0;
	struct ear key = p->ear;
	struct heard *roll = roll_of(key.netns, key.roll);

	if (!roll || p->id != roll->id)
		return 0; /* another one has been written since */
	if (p->no_room)
		__sync_fetch_and_add(&roll->sockets, -1);
	else
		leave(&key, roll);
	return 0;
}

/* The one of two that a roll has. */
INLINE struct seat *seat_in(struct seats *p, __u8 number)
{
	return number == 2 ? &p->in[1] : &p->in[0];
}

/* Somebody begins to listen, or was found to. */
INLINE void count_listener(struct pod pod, __u64 netns, struct sock_common *sk, struct seats *p)
{
	struct ear e = {};

	find_ear(sk, netns, &e);
	if (p) {
		count_in(seat_in(p, pod.asked), &e, pod.asked);
		if (pod.kept != pod.asked)
			count_in(seat_in(p, pod.kept), &e, pod.kept);
		return;
	}
	/* No memory: until the next roll, nobody can tell. */
	struct heard *asked = roll_of(netns, pod.asked), *kept = roll_of(netns, pod.kept);

	if (asked)
		__sync_fetch_and_add(&asked->sockets, 1);
	if (kept && pod.kept != pod.asked)
		__sync_fetch_and_add(&kept->sockets, 1);
	count(UNCOUNTED_LISTENER);
}

INLINE int is_listening(struct ear *key)
{
	struct heard *h = bpf_map_lookup_elem(&listening, key);

	return h && READ(h->sockets) > 0;
}

/*
 * Whether a socket of the pod would take a connection, as the kernel will look
 * for it: a place is one of three addresses, on the interface or on any.
 */
__attribute__((noinline)) int is_heard(__u64 netns, __u8 roll, struct flow *f, __u32 device)
{
	struct ear key = {.netns = netns, .roll = roll};
	struct wide any = {};

	if (!f)
		return 0;
	if (is_ipv4(f->field[FIELD_DEST]))
		any.low = MAPPED << 32;
	for (int i = 0; i < 2; i++) {
		key.port = (__u16)f->field[FIELD_PORT].low;
		key.device = i ? device : 0;
		key.addr.high = key.addr.low = BOTH;
		if (is_listening(&key))
			return 1;
		key.addr = any;
		if (is_listening(&key))
			return 1;
		key.addr = f->field[FIELD_DEST];
		if (is_listening(&key))
			return 1;
	}
	struct heard *all = roll_of(netns, roll);

	return !all || READ(all->sockets) > 0;
}
