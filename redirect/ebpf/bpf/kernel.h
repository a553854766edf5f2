/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/*
 * What of the kernel's interface the programs touch, kept by hand, so that they
 * compile to the same bytes wherever the same clang is.
 *
 * The first part is stable (linux/bpf.h and its neighbours). The structs of the
 * last part are the kernel's own: only the members named here are used, and the
 * loader finds where this kernel has them (CO-RE).
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline
#define NULL ((void *)0)

/* How a map is declared: the loader reads the types of pointers. */
#define MAP_UINT(name, value) int(*name)[value]
#define MAP_TYPE(name, value) typeof(value) *name

enum map_type {
	MAP_HASH = 1,
	MAP_PROG_ARRAY = 3,
	MAP_PERCPU_ARRAY = 6,
	MAP_LRU_HASH = 9,
	MAP_SOCKHASH = 18,
	MAP_SK_STORAGE = 24,
};

enum map_flag {
	NO_PREALLOC = 1 << 0,
};

/* Of an update: the key must be new. */
enum { NO_EXIST = 1 };

enum {
	AF_INET = 2,
	AF_INET6 = 10,
	SOCK_STREAM = 1,
	SOL_SOCKET = 1,
	SO_BINDTODEVICE = 25,
	SOL_IP = 0,
	SOL_IPV6 = 41,
	SO_ORIGINAL_DST = 80, /* IP6T_SO_ORIGINAL_DST too */
	IPPROTO_TCP = 6,
	TCP_CLOSE = 7,
	SOL_TCP = 6,
	TCP_BPF_SOCK_OPS_CB_FLAGS = 1008, /* Linux 6.12 */
	TCP_LISTEN = 10,
	LOOPBACK_INDEX = 1,
	EEXIST = 17,
	ENETUNREACH = 101,
	ECONNREFUSED = 111,
};

/* What a cgroup program answers: go on, or fail. */
enum { DENY = 0, ALLOW = 1 };

/* What an sk_lookup program answers. */
enum { SK_DROP = 0, SK_PASS = 1 };

/* The moments of a socket that sockops programs are told of. */
enum {
	ON_CONNECT = 3,  /* BPF_SOCK_OPS_TCP_CONNECT_CB: before the SYN */
	ON_ACCEPT = 5,   /* BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB */
	ON_STATE = 10,   /* BPF_SOCK_OPS_STATE_CB: from args[0], for sockets with the flag below */
	ON_LISTEN = 11,  /* BPF_SOCK_OPS_TCP_LISTEN_CB */
};

enum { TELL_STATE = 1 << 2 }; /* BPF_SOCK_OPS_STATE_CB_FLAG */

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;    /* network byte order, as all addresses */
	__u32 src_ip6[4];
	__u32 src_port;   /* host byte order */
};

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port; /* network byte order */
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port; /* network byte order, in the upper half */
	__u32 local_port;  /* host byte order */
	__u32 is_fullsock;
	__u32 window;
	__u32 round_trip;
	__u32 bpf_sock_ops_cb_flags;
	__u32 measured[20];
	__u64 received_and_acked[2];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

struct bpf_sockopt {
	struct bpf_sock *sk;
	void *optval;
	void *optval_end;
	__s32 level;
	__s32 optname;
	__s32 optlen;
	__s32 retval;
};

struct bpf_sk_lookup {
	struct bpf_sock *sk;
	__u32 family;
	__u32 protocol;
	__u32 remote_ip4;
	__u32 remote_ip6[4];
	__u16 remote_port; /* network byte order */
	__u16 padding;
	__u32 local_ip4;
	__u32 local_ip6[4];
	__u32 local_port; /* host byte order */
	__u32 ingress_ifindex; /* Linux 5.17 */
};

struct sockaddr_in {
	__u16 sin_family;
	__u16 sin_port;
	__u32 sin_addr;
	__u8 sin_zero[8];
};

struct sockaddr_in6 {
	__u16 sin6_family;
	__u16 sin6_port;
	__u32 sin6_flowinfo;
	__u32 sin6_addr[4];
	__u32 sin6_scope_id;
};

struct bpf_spin_lock {
	__u32 val;
};

/* Helpers, by number (enum bpf_func_id). */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)7;
static __u64 (*bpf_get_socket_cookie)(void *sk) = (void *)46;
static long (*bpf_setsockopt)(void *ctx, int level, int optname, void *optval, int optlen) = (void *)49;
static long (*bpf_sock_ops_cb_flags_set)(struct bpf_sock_ops *ctx, int flags) = (void *)59;
static long (*bpf_bind)(struct bpf_sock_addr *ctx, void *addr, int size) = (void *)64;
static long (*bpf_sock_hash_update)(struct bpf_sock_ops *ctx, void *map, void *key, __u64 flags) = (void *)70;
static long (*bpf_sk_release)(void *sk) = (void *)86;
static long (*bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static void *(*bpf_sk_storage_get)(void *map, void *sk, void *value, __u64 flags) = (void *)107;
static long (*bpf_sk_storage_delete)(void *map, void *sk) = (void *)108;
static __u64 (*bpf_get_netns_cookie)(void *ctx) = (void *)122;
static long (*bpf_sk_assign)(void *ctx, void *sk, __u64 flags) = (void *)124;
static long (*bpf_seq_write)(void *to, const void *data, __u32 size) = (void *)127;
static struct tcp_sock *(*bpf_skc_to_tcp_sock)(void *sk) = (void *)137;
static int (*bpf_set_retval)(int retval) = (void *)187; /* Linux 5.18 */

enum { CREATE = 1 }; /* BPF_SK_STORAGE_GET_F_CREATE */

/*
 * READ keeps the compiler from joining reads of a context's members into one by
 * a computed offset, which the verifier refuses.
 */
#define READ(member) \
	({ \
		typeof(member) read_ = *(volatile typeof(member) *)&(member); \
		asm volatile("" ::: "memory"); \
		read_; \
	})

/* WRITE does the same for writes. */
#define WRITE(member, value) (*(volatile typeof(member) *)&(member) = (value))

#define TO_BE16(v) __builtin_bswap16(v)
#define TO_BE32(v) __builtin_bswap32(v)

/* The kernel's own. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
};

struct file {
	const struct cred *f_cred;
};

struct socket {
	struct file *file;
};

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
	volatile __u8 skc_state;
	__u8 skc_ipv6only : 1;
	__s32 skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
};

struct inet_connection_sock {
	int unused;
};

struct tcp_sock {
	__u8 bpf_sock_ops_cb_flags;
};

struct seq_file {
	int unused;
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct sock *sk;
	void *value;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_sk_lookup___told {
	__u32 ingress_ifindex;
};

enum bpf_func_id {
	BPF_FUNC_set_retval = 187,
};

#pragma clang attribute pop

/* Functions of the kernel that are found by name. */
extern int bpf_sock_destroy(struct sock_common *sk) SEC(".ksyms"); /* Linux 6.5 */

/* What can be asked of a member (enum bpf_field_info_kind). */
enum { AT_BYTE = 0, EXISTS = 2, SHIFT_LEFT = 4, SHIFT_RIGHT = 5 };

/* A member of one bit, of a byte: where that is, the loader knows. */
#define FLAG(struct_, member) \
	((__u64)*((const __u8 *)(struct_) + __builtin_preserve_field_info((struct_)->member, AT_BYTE)) \
		 << __builtin_preserve_field_info((struct_)->member, SHIFT_LEFT) >> \
	 __builtin_preserve_field_info((struct_)->member, SHIFT_RIGHT))

/* Whether a connection that arrives tells on which interface: since Linux 5.17. */
INLINE int tells_device(void)
{
	return __builtin_preserve_field_info(((struct bpf_sk_lookup___told *)0)->ingress_ifindex, EXISTS);
}
