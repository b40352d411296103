/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user back end that does as it is told: on a thread of its own, behind a unix socket, with
 * plain blocking calls. It answers as the protocol says, remembers what it was told, and breaks the
 * protocol where a test wants that.
 *
 *	struct back_end b = BACK_END("/tmp/x/sock");
 *	b.protocol &= ~...; b.hook = ...;
 *	back_end_start(&b);
 *	...
 *	back_end_stop(&b);
 */
#ifndef VMM_TESTS_FAKES_BACK_END_H
#define VMM_TESTS_FAKES_BACK_END_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost/vhost_user_message.h"

struct back_end;

/* One message as it came; its descriptors are closed, n_fds says how many there were. */
struct back_end_entry {
	struct vhost_user_header header;
	uint64_t first, second; /* of the payload: as far as it goes */
	unsigned n_fds;
};

enum back_end_verdict {
	BACK_END_GOES_ON,  /* answer as usual */
	BACK_END_IS_DONE,  /* the hook has done all there is to do */
	BACK_END_HANGS_UP, /* close the connection */
};

enum { BACK_END_LOG = 8192, BACK_END_RINGS = 64 };

struct back_end {
	/* Set before back_end_start(). */
	const char *path;
	bool client; /* connects to the path instead of listening there */
	uint64_t features, protocol, queue_num, slots;
	unsigned config_len; /* GET_CONFIG of at most so many bytes is answered */
	uint8_t config[VHOST_USER_MAX_CONFIG];
	/* Its thread, for each message. NULL: none. */
	enum back_end_verdict (*hook)(struct back_end *b, int fd, struct vhost_user_message *m);
	void *hook_arg;

	/* What GET_VRING_BASE answers. */
	uint32_t base[BACK_END_RINGS];

	/* Any thread reads. */
	_Atomic unsigned n; /* of log, over all connections */
	struct back_end_entry log[BACK_END_LOG];
	_Atomic unsigned connections, hang_ups;
	/* The last of its kind that came, -1: none. */
	_Atomic int memory_fd, requests_fd, kick[BACK_END_RINGS], call[BACK_END_RINGS];

	/* Its own. */
	int listener, stop, cut;
	pthread_t thread;
	bool runs;
};

#define BACK_END(where)                                                                            \
	((struct back_end){.path = (where),                                                        \
			   .features = UINT64_C(1) << 32 | UINT64_C(1) << 30,                      \
			   .protocol = UINT64_MAX,                                                 \
			   .queue_num = BACK_END_RINGS,                                            \
			   .slots = 32})

void back_end_start(struct back_end *b);
/* Ends it, its connection and its socket. Also one that does not run. */
void back_end_stop(struct back_end *b);
/* Cuts the connection there is; it waits for the next. */
void back_end_cut(struct back_end *b);

/* How often it was told this. */
unsigned back_end_count(const struct back_end *b, uint32_t request);
/* The number of the n-th (from 0) message of this kind in the log, or -1. */
int back_end_find(const struct back_end *b, uint32_t request, unsigned n);

/* ---- for hooks ---- */

/* An answer with these flags besides the version. */
void back_end_reply(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size);
/* The same with descriptors. */
void back_end_reply_fds(int fd, uint32_t request, const void *payload, uint32_t size,
			const int *fds, unsigned n);
/* As usual. */
void back_end_answer(struct back_end *b, int fd, struct vhost_user_message *m);

#endif
