/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/* From a pod's policy and a connection to what becomes of it. */
#pragma once

#include "maps.h"

#define MAX_STEPS 48 /* of a chain; maxSteps in compile.go */
#define MAX_DEPTH 12 /* a set has less than 2^11 ranges; maxRanges in compile.go */

#define MAPPED 0xffffULL
#define NOT_FOUND (-1)
#define BROKEN (-2)

/*
 * A connection that is about to be, as far as anybody asks: a number for each
 * FIELD_*. Source is 0 where the kernel has yet to choose it.
 */
struct flow {
	struct wide field[FIELDS];
};

/* What becomes of it. */
struct verdict {
	__u8 action; /* ACTION_PASS, _CAPTURE or _REFUSE */
	__u8 closed; /* it was asked whether somebody listens, and nobody does */
	__u16 port;
};

INLINE struct wide wide4(__u32 addr)
{
	return (struct wide){0, MAPPED << 32 | TO_BE32(addr)};
}

INLINE struct wide wide6(__u32 a, __u32 b, __u32 c, __u32 d)
{
	return (struct wide){(__u64)TO_BE32(a) << 32 | TO_BE32(b), (__u64)TO_BE32(c) << 32 | TO_BE32(d)};
}

INLINE int is_ipv4(struct wide w)
{
	return w.high == 0 && w.low >> 32 == MAPPED;
}

/* Of no address, 0.0.0.0 or ::, which stand for the host itself as a destination. */
INLINE int is_unspecified(struct wide w)
{
	return w.high == 0 && (w.low == 0 || w.low == MAPPED << 32);
}

INLINE int is_loopback(struct wide w)
{
	return w.high == 0 && (w.low == 1 || w.low >> 24 == (MAPPED << 8 | 127));
}

INLINE int is_before(struct wide a, struct wide b)
{
	return a.high < b.high || (a.high == b.high && a.low < b.low);
}

/* The policy that holds for a pod. */
struct policy {
	__u64 netns;
	__u32 generation;
};

INLINE void *entry_at(struct policy *p, __u32 index)
{
	struct entry_key key = {.netns = p->netns, .generation = p->generation, .index = index};

	return bpf_map_lookup_elem(&policies, &key);
}

/*
 * Returns the number of the range that holds the value, of count that begin at
 * first, or NOT_FOUND or BROKEN. It is not static, so that the verifier looks at
 * it once and on its own; in each place where it is called, it would walk every
 * way through it again.
 */
__attribute__((noinline)) int position(__u64 netns, __u32 generation, __u32 first, __u32 count, struct wide *value)
{
	struct policy p = {.netns = netns, .generation = generation};
	__u32 from = 0, to = count;

	if (!value)
		return BROKEN;
	for (int i = 0; i < MAX_DEPTH; i++) {
		if (from >= to)
			return NOT_FOUND;
		__u32 middle = (from + to) / 2;
		struct range *r = entry_at(&p, first + middle);

		if (!r)
			return BROKEN;
		if (is_before(*value, r->first))
			to = middle;
		else if (is_before(r->last, *value))
			from = middle + 1;
		else
			return middle;
	}
	return BROKEN;
}

INLINE int position_in(struct policy *p, struct set *set, struct wide *value)
{
	return position(p->netns, p->generation, set->first, set->count, value);
}

/* The first step whose question is answered with yes, and that has an action, decides. */
static __attribute__((noinline)) int judge_chain(struct policy *p, __u32 at, struct flow *f, struct verdict *v)
{
	for (int i = 0; i < MAX_STEPS; i++) {
		if (at == 0) {
			v->action = ACTION_PASS;
			return 0;
		}
		struct step *s = entry_at(p, at);

		if (!s)
			break;
		int found = position_in(p, &s->set, &f->field[s->field % FIELDS]);

		if (found == BROKEN)
			break;
		int holds = (found >= 0) != s->negated;

		if (holds && s->action != ACTION_NEXT) {
			v->action = s->action;
			v->port = s->port;
			return 0;
		}
		v->closed |= s->field == FIELD_HEARD && !holds;
		at = holds ? s->then : s->otherwise;
	}
	count(REFUSED_POLICY);
	v->action = ACTION_REFUSE;
	return 0;
}

/* Whether an address is one of the pod's, or loopback. */
INLINE int is_own(struct policy *p, struct head *h, struct wide *addr)
{
	return is_loopback(*addr) || position_in(p, &h->own, addr) >= 0;
}
