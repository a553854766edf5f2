/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * The programs that steer pods. In the order in which to read them: maps.h is
 * what they remember, judge.h decides, connect.h acts on what leaves a pod and
 * asks balance.h, lookup.h acts on what arrives, listening.h and listeners.h know
 * who listens, and sockets.h keeps up appearances.
 */
#include "maps.h"
#include "judge.h"
#include "balance.h"
#include "connect.h"
#include "listening.h"
#include "listeners.h"
#include "sockets.h"
#include "lookup.h"

/* The kernel asks for it; it takes no other words. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
