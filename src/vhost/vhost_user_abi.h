/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user protocol as bytes: "Vhost-user Protocol" (docs/interop/vhost-user.rst of QEMU),
 * whose names these are. All of it is in the byte order of the host.
 */
#ifndef VMM_VHOST_VHOST_USER_ABI_H
#define VMM_VHOST_VHOST_USER_ABI_H

#include <assert.h>
#include <stdint.h>

enum {
	VHOST_USER_VERSION = 1,
	VHOST_USER_VERSION_MASK = 3,
	VHOST_USER_REPLY = 1 << 2,
	VHOST_USER_NEED_REPLY = 1 << 3,

	/* With SET_VRING_KICK, _CALL and _ERR: no descriptor comes with it. */
	VHOST_USER_VRING_NOFD = 1 << 8,
	VHOST_USER_MAX_FDS = 8,
	VHOST_USER_MAX_CONFIG = 256,
	VHOST_USER_MAX_REGIONS = 8, /* of SET_MEM_TABLE */
};

/* From the front end to the back end. */
enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
};

/* From the back end, on the request channel. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
};

/* Bit of the device's features that stands for protocol features; never shown to the guest. */
enum { VHOST_USER_F_PROTOCOL_FEATURES = 30 };

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_MTU = 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
};

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};
static_assert(sizeof(struct vhost_user_header) == 12, "without a gap");

/* SET_VRING_NUM, _BASE, _ENABLE, GET_VRING_BASE */
struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

/* SET_VRING_ADDR: addresses in the front end's address space, as in the memory table. */
struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t descriptor; /* split: table; packed: ring */
	uint64_t used;	     /* split: used ring; packed: device event suppression */
	uint64_t available;  /* split: available ring; packed: driver event suppression */
	uint64_t log;
};
static_assert(sizeof(struct vhost_user_vring_addr) == 40, "as in the protocol");

struct vhost_user_region {
	uint64_t guest_address;
	uint64_t size;
	uint64_t user_address;
	uint64_t mmap_offset;
};

/* SET_MEM_TABLE, with n descriptors */
struct vhost_user_memory {
	uint32_t n;
	uint32_t padding;
	struct vhost_user_region regions[VHOST_USER_MAX_REGIONS];
};
static_assert(sizeof(struct vhost_user_memory) == 8 + 8 * 32, "as in the protocol");

/* ADD_MEM_REG with its descriptor, REM_MEM_REG without one */
struct vhost_user_single_region {
	uint64_t padding;
	struct vhost_user_region region;
};
static_assert(sizeof(struct vhost_user_single_region) == 40, "as in the protocol");

/* GET_CONFIG, SET_CONFIG: `size` bytes follow in both directions. */
struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags; /* SET_CONFIG: 0, the driver has written it */
	uint8_t bytes[VHOST_USER_MAX_CONFIG];
};
enum { VHOST_USER_CONFIG_HEADER = 12 };

/* GET_INFLIGHT_FD and SET_INFLIGHT_FD: 24 bytes, as C lays it out. */
struct vhost_user_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
};
static_assert(sizeof(struct vhost_user_inflight) == 24, "with the padding at its end");

#endif
