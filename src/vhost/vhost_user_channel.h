/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unix stream socket that carries vhost-user messages and descriptors, on a loop. Nothing here
 * waits: what the socket doesn't take is kept, and what comes in pieces is put together. One
 * thread, that of the loop.
 */
#ifndef VMM_VHOST_VHOST_USER_CHANNEL_H
#define VMM_VHOST_VHOST_USER_CHANNEL_H

#include <stdbool.h>

#include "base/list.h"
#include "event/loop.h"
#include "vhost/vhost_user_message.h"

struct vhost_user_channel {
	/* The owner's; both may close the channel. */
	/* A whole message. Descriptors that it doesn't take (by -1 in its place) are closed. */
	void (*received)(struct vhost_user_channel *ch, struct vhost_user_message *m);
	/* It ends: by the peer (error 0 or an errno), or since the peer broke the protocol
	 * (-EPROTO). Nothing is called after this. */
	void (*ended)(struct vhost_user_channel *ch, int error, const char *why);

	struct loop *loop;
	struct loop_fd source; /* fd -1: closed */
	struct list unsent;
	unsigned n_unsent;
	size_t unsent_done; /* bytes of its first */
	struct vhost_user_message in;
	size_t in_done;
};

/* Closed, with `received` and `ended` to be filled. */
void vhost_user_channel_init(struct vhost_user_channel *ch);
/* Takes a connected, non-blocking socket over. 0 or -errno; then it is closed. */
int vhost_user_channel_open(struct vhost_user_channel *ch, struct loop *loop, int fd) must_check;
/* Goes on on another loop, or on none until it is moved again; one that is closed stays closed. 0
 * or -errno. */
int vhost_user_channel_move(struct vhost_user_channel *ch, struct loop *loop) must_check;
/* May be called from its own calls, and when it is closed. Forgets what was not sent. */
void vhost_user_channel_close(struct vhost_user_channel *ch);
static inline bool vhost_user_channel_is_open(const struct vhost_user_channel *ch)
{
	return ch->source.fd >= 0;
}

/*
 * Sends header and header.size bytes of the payload with the descriptors, which are borrowed and
 * stay open as long as the channel, or until an answer to a later message has come. A failure is
 * told by `ended`, soon, not from here.
 */
void vhost_user_channel_send(struct vhost_user_channel *ch, const struct vhost_user_message *m);

#endif
