/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message of the vhost-user protocol and the checks of what came from a back end. Plain C
 * without system calls: bytes in, verdict out.
 */
#ifndef VMM_VHOST_VHOST_USER_MESSAGE_H
#define VMM_VHOST_VHOST_USER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "vhost/vhost_user_abi.h"

struct vhost_user_message {
	struct vhost_user_header header;
	union {
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		struct vhost_user_memory memory;
		struct vhost_user_single_region region;
		struct vhost_user_config config;
		struct vhost_user_inflight inflight;
		uint8_t bytes[288]; /* no message is longer */
	} payload;
	unsigned n_fds;
	int fds[VHOST_USER_MAX_FDS];
};

/* The name of a request to the back end, "GET_FEATURES"; "a message" for one that has none. */
const char *vhost_user_request_name(uint32_t request);

/*
 * What can't be in any header that a back end sends, before its payload is read: another version,
 * a payload longer than any. NULL, or what is wrong with it.
 */
const char *vhost_user_check_header(const struct vhost_user_header *h) must_check;

/* Whether a whole message from the back end is the answer to `request`, which is answered by `size`
 * bytes. NULL, or what is wrong. */
#define VHOST_USER_ANY_SIZE UINT32_MAX
const char *vhost_user_check_reply(const struct vhost_user_message *m, uint32_t request,
				   uint32_t size) must_check;

/* Whether the answer to GET_CONFIG, checked as that, has [offset, offset + size) of the
 * configuration: other bytes, or none, are how back ends say that they have none of these. */
const char *vhost_user_check_config(const struct vhost_user_message *m, uint32_t offset,
				    uint32_t size) must_check;

/* GET_INFLIGHT_FD's: file_size is that of the one descriptor that came with it. */
const char *vhost_user_check_inflight(const struct vhost_user_message *m,
				      uint64_t file_size) must_check;

/* Whether a message on the request channel is a request. NULL, or what is wrong. */
const char *vhost_user_check_request(const struct vhost_user_message *m) must_check;

#endif
