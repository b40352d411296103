/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the vhost-user front end share. */
#ifndef VMM_VHOST_VHOST_USER_INTERNAL_H
#define VMM_VHOST_VHOST_USER_INTERNAL_H

#include "backend/unix_socket.h"
#include "vhost/vhost_user.h"
#include "vhost/vhost_user_session.h"

static_assert(VHOST_MAX_RINGS <= 64, "a bit for each");

/*
 *   OFFLINE --connected--> FEATURES --> DETAILS --checked--> ONLINE
 *      ^                                                        |
 *      +------------- the connection ends, any time ------------+
 */
enum vhost_user_phase {
	VHOST_USER_OFFLINE,
	VHOST_USER_FEATURES, /* the two sets of features */
	VHOST_USER_DETAILS,  /* how many queues, slots; the configuration */
	VHOST_USER_ONLINE,
};

/* The record of what is under way, in memory of the back end's making that we keep. fd -1: none. */
struct vhost_user_record {
	struct vhost_user_inflight area;
	int fd;
};

struct vhost_user {
	struct vhost_dev dev;
	struct vhost_user_setup setup;
	struct loop *loop;
	struct vhost_user_session session;
	enum vhost_user_phase phase;
	bool attached; /* the owner hears of events */

	/* Connecting. */
	struct unix_listener listener;
	struct loop_fd acceptable;
	struct loop_timer retry;
	char said[160];	    /* why there is no back end: what was logged last */
	bool opening_fault; /* one that was found can't be used */

	/* Asking. */
	uint64_t offered; /* the back end's features, all */
	unsigned max_slots;
	unsigned size_at;   /* of config_sizes: asked for, or the one there is */
	bool asking_config; /* GET_CONFIG is under way */
	bool config_stale;  /* it was changed meanwhile */

	/* Running. */
	bool told_features, told_memory;
	uint64_t told_sizes; /* a bit for each ring that is not up yet */
	bool asking_record;  /* GET_INFLIGHT_FD is under way: rings come after it */
	unsigned barriers;   /* GET_FEATURES under way, each behind rings that were started */
	struct vhost_user_record record;
};

static inline struct vhost_user *vhost_user_of(struct vhost_dev *d)
{
	return container_of(d, struct vhost_user, dev);
}

/* ---- vhost_user_connect.c ---- */

/* Begins to look for a back end, again and again. */
void vhost_user_connect(struct vhost_user *vu);
/* One is there, on this socket, which is taken over. */
void vhost_user_connected(struct vhost_user *vu, int fd);
/* Not any more. */
void vhost_user_stop_connecting(struct vhost_user *vu);
/* There is none now; the next try is in in_ns. */
void vhost_user_connect_later(struct vhost_user *vu, uint64_t in_ns);

/* ---- vhost_user_negotiate.c ---- */

/* Asks a back end that has just connected. */
void vhost_user_negotiate(struct vhost_user *vu);
/* Answers; also GET_CONFIG's of later. */
void vhost_user_negotiate_answer(struct vhost_user *vu, uint32_t request,
				 const struct vhost_user_message *m);
void vhost_user_take_config(struct vhost_user *vu, const struct vhost_user_config *config);
/* Reads the configuration again. */
void vhost_user_refresh_config(struct vhost_user *vu);

/* ---- vhost_user_rings.c ---- */

/* The rows of vhost_dev_ops. */
void vhost_user_start(struct vhost_dev *d);
void vhost_user_stop(struct vhost_dev *d, unsigned ring);
void vhost_user_set_call(struct vhost_dev *d, unsigned ring);
void vhost_user_set_enabled(struct vhost_dev *d, unsigned ring);
void vhost_user_reset(struct vhost_dev *d);
/* Answers while online. */
void vhost_user_ring_answer(struct vhost_user *vu, uint32_t request, struct vhost_user_message *m);
/* The connection is gone. */
void vhost_user_rings_lost(struct vhost_user *vu);
/* How many regions of the map the back end gets. */
unsigned vhost_user_count_regions(const struct mm_map *map);

/* ---- vhost_user.c ---- */

/* Not connected to anything, on that loop. 0 or -errno. */
int vhost_user_new(const struct vhost_user_setup *setup, struct loop *loop,
		   struct vhost_user **ret) must_check;

/* Every question has been answered. */
void vhost_user_negotiated(struct vhost_user *vu);
/* Nobody could be connected to. */
void vhost_user_no_back_end(struct vhost_user *vu, int error);
/* Cuts off a back end that did what it must not. why: see vhost_user_session_ops.ended. */
void vhost_user_blame(struct vhost_user *vu, const char *why);
/* A message without payload or with one number. */
void vhost_user_tell(struct vhost_user *vu, uint32_t request);
void vhost_user_tell_u64(struct vhost_user *vu, uint32_t request, uint64_t value);
void vhost_user_ask_u64(struct vhost_user *vu, uint32_t request);
static inline bool vhost_user_has(const struct vhost_user *vu, enum vhost_user_protocol_feature f)
{
	return vhost_user_session_has(&vu->session, f);
}

#endif
