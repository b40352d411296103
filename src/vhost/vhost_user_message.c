/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/vhost_user_message.h"

#include "base/checked.h"

static const char *const names[] = {
	[VHOST_USER_GET_FEATURES] = "GET_FEATURES",
	[VHOST_USER_SET_FEATURES] = "SET_FEATURES",
	[VHOST_USER_SET_OWNER] = "SET_OWNER",
	[VHOST_USER_SET_MEM_TABLE] = "SET_MEM_TABLE",
	[VHOST_USER_SET_VRING_NUM] = "SET_VRING_NUM",
	[VHOST_USER_SET_VRING_ADDR] = "SET_VRING_ADDR",
	[VHOST_USER_SET_VRING_BASE] = "SET_VRING_BASE",
	[VHOST_USER_GET_VRING_BASE] = "GET_VRING_BASE",
	[VHOST_USER_SET_VRING_KICK] = "SET_VRING_KICK",
	[VHOST_USER_SET_VRING_CALL] = "SET_VRING_CALL",
	[VHOST_USER_SET_VRING_ERR] = "SET_VRING_ERR",
	[VHOST_USER_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
	[VHOST_USER_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
	[VHOST_USER_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
	[VHOST_USER_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
	[VHOST_USER_NET_SET_MTU] = "NET_SET_MTU",
	[VHOST_USER_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
	[VHOST_USER_GET_CONFIG] = "GET_CONFIG",
	[VHOST_USER_SET_CONFIG] = "SET_CONFIG",
	[VHOST_USER_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
	[VHOST_USER_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
	[VHOST_USER_RESET_DEVICE] = "RESET_DEVICE",
	[VHOST_USER_GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
	[VHOST_USER_ADD_MEM_REG] = "ADD_MEM_REG",
	[VHOST_USER_REM_MEM_REG] = "REM_MEM_REG",
	[VHOST_USER_SET_STATUS] = "SET_STATUS",
	[VHOST_USER_GET_STATUS] = "GET_STATUS",
};

const char *vhost_user_request_name(uint32_t request)
{
	const char *name = request < ARRAY_SIZE(names) ? names[request] : NULL;

	return name ? name : "a message";
}

const char *vhost_user_check_header(const struct vhost_user_header *h)
{
	if ((h->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return "a message of another version of the protocol";
	if (h->size > sizeof(((struct vhost_user_message *)0)->payload))
		return "a message longer than any that it may send";
	return NULL;
}

static const char *check_kind(const struct vhost_user_message *m, uint32_t request)
{
	if (m->header.request != request)
		return "the answer to another request";
	/* Nothing else belongs into the flags of an answer. */
	if (m->header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY))
		return "an answer with flags that no answer has";
	return NULL;
}

const char *vhost_user_check_reply(const struct vhost_user_message *m, uint32_t request,
				   uint32_t size)
{
	const char *wrong = check_kind(m, request);

	if (!wrong && size != VHOST_USER_ANY_SIZE && m->header.size != size)
		wrong = "an answer of another length";
	if (!wrong && m->n_fds > 0 && request != VHOST_USER_GET_INFLIGHT_FD)
		wrong = "an answer with descriptors that nobody asked for";
	return wrong;
}

const char *vhost_user_check_config(const struct vhost_user_message *m, uint32_t offset,
				    uint32_t size)
{
	const struct vhost_user_config *c = &m->payload.config;
	if (m->header.size != VHOST_USER_CONFIG_HEADER + size)
		return "no configuration of this size";
	if (c->offset != offset || c->size != size)
		return "another part of the configuration";
	return NULL;
}

const char *vhost_user_check_inflight(const struct vhost_user_message *m, uint64_t file_size)
{
	const struct vhost_user_inflight *area = &m->payload.inflight;

	if (m->n_fds != 1 || area->mmap_size == 0)
		return "it has no area for a record of what is under way, or several";
	if (!range_inside(area->mmap_offset, area->mmap_size, 0, file_size))
		return "its area for a record of what is under way is larger than the file";
	return NULL;
}

const char *vhost_user_check_request(const struct vhost_user_message *m)
{
	if (m->header.flags & ~(uint32_t)(VHOST_USER_VERSION_MASK | VHOST_USER_NEED_REPLY))
		return "a request with flags that no request has";
	return NULL;
}
