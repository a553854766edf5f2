/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * All that the programs remember. The maps are pinned; their layout has a number,
 * layoutVersion in pins.go, which goes up with each change of what is here.
 */
#pragma once

#include "kernel.h"

/*
 * A pod's policy is a list of entries, which is written once and then replaced
 * whole, under another number: one word in pods says which holds. So a connection
 * is judged by one policy and never by a mixture. Entry 0 is the head; steps and
 * ranges follow, found by their index.
 */
struct entry {
	__u64 words[4];
};

/* An address in 128 bits, as numbers; IPv4 is mapped into IPv6 (RFC 4291 section 2.5.5.2). */
struct wide {
	__u64 high, low;
};

/* Both ends belong to it. Sets are sorted, without overlaps. */
struct range {
	struct wide first, last;
};

/* A set is a number of ranges, one after the other. */
struct set {
	__u16 first, count;
};

struct head {
	__u16 chain[4];      /* by CHAIN_*: the first step; 0 where there is none */
	struct set own;      /* addresses of the pod */
	struct set routes;   /* where the pod has a way to... */
	__u16 sources;       /* ...and its own address on that way, of the same index */
	__u8 reserved[14];
};

enum { CHAIN_IN4, CHAIN_IN6, CHAIN_OUT4, CHAIN_OUT6 };

/* A step asks one question. Its answer is an action, or another step. */
struct step {
	__u8 field;        /* FIELD_* */
	__u8 negated;      /* holds where the field is not in the set */
	__u8 action;       /* ACTION_*: what is done where it holds */
	__u8 reserved;
	__u16 port;        /* of the proxy, for ACTION_CAPTURE */
	__u16 then;        /* the step that goes on where it holds, for ACTION_NEXT */
	__u16 otherwise;   /* the step that goes on where not; 0 is the end: left alone */
	struct set set;
	__u8 reserved2[18];
};

/*
 * FIELD_NOTHING is always 0. FIELD_INSIDE is 1 where both ends are in the pod,
 * and FIELD_HEARD where a socket of the pod would take what arrives.
 */
enum { FIELD_NOTHING, FIELD_INSIDE, FIELD_SOURCE, FIELD_DEST, FIELD_PORT, FIELD_UID, FIELD_GID, FIELD_HEARD, FIELDS };

enum { ACTION_NEXT, ACTION_PASS, ACTION_CAPTURE, ACTION_REFUSE };

struct entry_key {
	__u64 netns; /* cookie of the network namespace */
	__u32 generation;
	__u32 index;
};

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 131072);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct entry_key);
	MAP_TYPE(value, struct entry);
} policies SEC(".maps");

/* Small enough that it is read and written in one access. */
struct pod {
	__u32 generation;   /* of the policy that holds; 0 is none: all is left alone */
	__u16 inbound_port; /* of the proxy, whose listeners are kept; 0 where nothing that arrives is captured */
	__u8 asked;         /* roll 1 or 2 of those who listen; 0 where the policy doesn't ask */
	__u8 kept;          /* the same roll, or a second one that is about to take its place */
} __attribute__((aligned(8)));

/* By the cookie of the network namespace. What is not here is left alone. */
struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, __u64);
	MAP_TYPE(value, struct pod);
} pods SEC(".maps");

/* Where a connection was going, kept on its socket, and gone with it. */
struct origin {
	__u32 addr[4];  /* network byte order; IPv4 is mapped */
	__u16 port;     /* network byte order */
	__u8 accepted;  /* the proxy's end, and not the client's */
	__u8 balanced;  /* to an endpoint, and not to the proxy */
};

struct {
	MAP_UINT(type, MAP_SK_STORAGE);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, int);
	MAP_TYPE(value, struct origin);
} origins SEC(".maps");

/* What hands an origin from the client's end to the proxy's: a connection under way. */
struct handshake {
	__u64 netns;
	__u32 client[4], server[4];
	__u16 client_port, server_port; /* network byte order */
	__u32 reserved;
};

struct {
	MAP_UINT(type, MAP_LRU_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_TYPE(key, struct handshake);
	MAP_TYPE(value, struct origin);
} handshakes SEC(".maps");

/* Sockets of the proxies that listen for what arrives. */
struct listener {
	__u64 netns;
	__u16 port; /* host byte order */
	__u16 family;
	__u32 reserved;
};

struct {
	MAP_UINT(type, MAP_SOCKHASH);
	MAP_UINT(max_entries, 16384);
	MAP_TYPE(key, struct listener);
	MAP_TYPE(value, __u64);
} listeners SEC(".maps");

/*
 * The lookup program can't ask whose packet it judges. Each namespace has a stub
 * of its own attached, which writes its cookie here and goes on at entry 0 of
 * lookups. Both happen on one CPU, where nothing else looks up meanwhile.
 */
struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} arriving SEC(".maps");

struct {
	MAP_UINT(type, MAP_PROG_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u32);
} lookups SEC(".maps");

/* Counters, in the order of counterNames in status.go. */
enum counter {
	CAPTURED_OUT,
	CAPTURED_IN,
	REFUSED_NO_PROXY,
	REFUSED_NO_STORAGE,
	REFUSED_NO_ROUTE,
	REFUSED_DEVICE,
	REFUSED_POLICY,
	LOST_ORIGIN,
	LOST_LISTENER,
	UNBOUND,
	BALANCED,
	REFUSED_NO_ENDPOINT,
	DESTROYED,
	STAYED,
	UNCOUNTED_LISTENER,
};

#define MAX_COUNTERS 64 /* so that another one is no other layout */

struct {
	MAP_UINT(type, MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, MAX_COUNTERS);
	MAP_TYPE(key, __u32);
	MAP_TYPE(value, __u64);
} counters SEC(".maps");

INLINE void count(enum counter which)
{
	__u32 key = which;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		*value += 1;
}

/* Returns the pod whose namespace it is; of generation 0 where it is none. */
INLINE struct pod pod_of(__u64 netns)
{
	struct pod *found = bpf_map_lookup_elem(&pods, &netns);
	union {
		__u64 word;
		struct pod pod;
	} once = {};

	if (found)
		once.word = *(volatile __u64 *)found;
	return once.pod;
}
