/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a vhost-user back end: requests and their answers, which come in the order of
 * the requests; a time limit for each; and the back end's own requests, which have a socket of
 * their own on the same loop. No call waits, so a back end that waits for us while we wait for it
 * is served.
 *
 *   request ---> answered, or ended: the connection is lost, by the peer, by its fault, by time
 */
#ifndef VMM_VHOST_VHOST_USER_SESSION_H
#define VMM_VHOST_VHOST_USER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "event/loop.h"
#include "vhost/vhost_user_channel.h"

struct vhost_user_session;

struct vhost_user_session_ops {
	/* GET_CONFIG has an answer of its own kind; NULL: the back end has none of this size. */
	void (*config)(struct vhost_user_session *s, const struct vhost_user_config *config);
	/* The answer to any other vhost_user_session_ask(), in m->payload; a descriptor that is
	 * taken is -1 in m afterwards. */
	void (*answered)(struct vhost_user_session *s, uint32_t request,
			 struct vhost_user_message *m);
	/* The back end says that its configuration has changed. */
	void (*config_changed)(struct vhost_user_session *s);
	/* The connection is closed. `fault`: the back end did what it must not, or nothing in time;
	 * it did not just leave. why is a piece of a sentence, "it refuses SET_MEM_TABLE". */
	void (*ended)(struct vhost_user_session *s, bool fault, const char *why);
};

/* Time limits. Some back ends drain what is under way within GET_VRING_BASE. */
#define VHOST_USER_PATIENCE_NS	    (UINT64_C(5) * 1000000000)
#define VHOST_USER_LONG_PATIENCE_NS (UINT64_C(60) * 1000000000)

struct vhost_user_session {
	const struct vhost_user_session_ops *ops;
	struct loop *loop;
	/* enum vhost_user_protocol_feature bits that are in force; the owner sets it. */
	uint64_t protocol;

	struct vhost_user_channel channel, requests;
	struct list unanswered;
	struct loop_timer timer;
	int requests_fd; /* the other end of `requests`, -1: none */
	char why[128];
};

/* Not connected; ops is borrowed. */
void vhost_user_session_init(struct vhost_user_session *s,
			     const struct vhost_user_session_ops *ops);
/* Takes a connected socket over. 0 or -errno. */
int vhost_user_session_open(struct vhost_user_session *s, struct loop *loop, int fd) must_check;
/* Goes on on another loop, or on none (NULL) until it is moved again. 0 or -errno. */
int vhost_user_session_move(struct vhost_user_session *s, struct loop *loop) must_check;
/* Closes it without a word; also one that is closed, and from its own calls. */
void vhost_user_session_close(struct vhost_user_session *s);
static inline bool vhost_user_session_is_open(const struct vhost_user_session *s)
{
	return vhost_user_channel_is_open(&s->channel);
}
static inline bool vhost_user_session_has(const struct vhost_user_session *s,
					  enum vhost_user_protocol_feature f)
{
	return s->protocol >> f & 1;
}

/* Fills the header. */
void vhost_user_request(struct vhost_user_message *m, uint32_t request, uint32_t size);

/*
 * Sends a request that sets something. With REPLY_ACK in force the back end says whether it did: a
 * refusal ends the session. On a closed session nothing happens, here and below. Descriptors: see
 * vhost_user_channel_send().
 */
void vhost_user_session_tell(struct vhost_user_session *s, struct vhost_user_message *m);
/* Sends a request that is always answered, by `size` bytes. */
void vhost_user_session_ask(struct vhost_user_session *s, struct vhost_user_message *m,
			    uint32_t size);
/* GET_CONFIG of [0, size). */
void vhost_user_session_ask_config(struct vhost_user_session *s, uint32_t size);

/* Makes the request channel and gives its other end to the back end (SET_BACKEND_REQ_FD). */
void vhost_user_session_open_requests(struct vhost_user_session *s);

#endif
