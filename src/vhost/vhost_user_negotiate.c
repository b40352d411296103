/* SPDX-License-Identifier: Apache-2.0 */
/* What a back end is asked when it has connected: one question behind the other, none waited for.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "vhost/vhost_user_internal.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Those whose duties are done here; no other is ever acknowledged. */
#define OUR_PROTOCOL                                                                               \
	(BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |                    \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) |              \
	 BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD) | BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |  \
	 BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) | BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

void vhost_user_negotiate(struct vhost_user *vu)
{
	vu->phase = VHOST_USER_FEATURES;
	vu->told_features = vu->told_memory = false;
	vu->told_sizes = 0;
	vu->asking_record = vu->asking_config = vu->config_stale = false;
	vu->barriers = 0;
	if (!vu->attached) /* another one may have been here that did not stay */
		vu->size_at = vu->dev.config_len = 0;
	vu->dev.max_rings = VHOST_MAX_RINGS;
	vu->dev.recovery = VHOST_RECOVERY_INDEX;
	vu->max_slots = VHOST_USER_MAX_REGIONS;
	vhost_user_ask_u64(vu, VHOST_USER_GET_FEATURES);
}

/* ---- the configuration ---- */

static bool wants_config(const struct vhost_user *vu)
{
	return vu->setup.config_sizes[0] > 0;
}

static unsigned config_size(const struct vhost_user *vu)
{
	return vu->setup.config_sizes[vu->size_at];
}

/* The last question: all before it are answered when it is. */
static void ask_barrier(struct vhost_user *vu)
{
	vhost_user_ask_u64(vu, VHOST_USER_GET_FEATURES);
}

static void ask_config(struct vhost_user *vu)
{
	vu->asking_config = true;
	if (vu->phase == VHOST_USER_ONLINE)
		vu->config_stale = false;
	vhost_user_session_ask_config(&vu->session, config_size(vu));
}

static void keep_config(struct vhost_user *vu, const struct vhost_user_config *config)
{
	struct vhost_dev *d = &vu->dev;

	d->config_len = config->size;
	memcpy(d->config, config->bytes, config->size);
	/* Else it is not known yet whether this back end will do. */
	if (vu->attached && vu->phase == VHOST_USER_ONLINE)
		d->events->config(d, d->config, d->config_len);
}

/* Its length is found once: the guest's device has it from then on. */
static void find_size(struct vhost_user *vu, bool found)
{
	if (!found && vu->dev.config_len == 0 && config_size(vu) > 0)
		vu->size_at++;
	if (!found && config_size(vu) > 0 && vu->dev.config_len == 0)
		ask_config(vu);
	else
		ask_barrier(vu);
}

void vhost_user_take_config(struct vhost_user *vu, const struct vhost_user_config *config)
{
	vu->asking_config = false;
	if (config)
		keep_config(vu, config);
	if (vu->phase == VHOST_USER_DETAILS)
		find_size(vu, config != NULL);
	else if (vu->config_stale)
		ask_config(vu);
}

/* However often it is asked for, one question is under way and one more to come. */
void vhost_user_refresh_config(struct vhost_user *vu)
{
	if (vu->asking_config || !vu->attached || vu->phase != VHOST_USER_ONLINE)
		vu->config_stale = true;
	else if (vu->dev.config_len > 0)
		ask_config(vu);
}

/* ---- features ---- */

static uint64_t protocol_of(const struct vhost_user *vu, uint64_t offered)
{
	uint64_t protocol = offered & OUR_PROTOCOL;

	if (!wants_config(vu))
		protocol &= ~BIT(VHOST_USER_PROTOCOL_F_CONFIG);
	if (!(protocol & BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ)))
		protocol &= ~BIT(VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD);
	return protocol;
}

static void ask_details(struct vhost_user *vu)
{
	vu->phase = VHOST_USER_DETAILS;
	vhost_user_tell(vu, VHOST_USER_SET_OWNER);
	if (vhost_user_has(vu, VHOST_USER_PROTOCOL_F_MQ))
		vhost_user_ask_u64(vu, VHOST_USER_GET_QUEUE_NUM);
	if (vhost_user_has(vu, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		vhost_user_ask_u64(vu, VHOST_USER_GET_MAX_MEM_SLOTS);
	if (vhost_user_has(vu, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
		vhost_user_session_open_requests(&vu->session);
	if (vhost_user_has(vu, VHOST_USER_PROTOCOL_F_CONFIG) && config_size(vu) > 0)
		ask_config(vu);
	else
		ask_barrier(vu);
}

static void take_features(struct vhost_user *vu, uint64_t features)
{
	vu->offered = features;
	vu->dev.features = features & ~BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	if (vu->phase == VHOST_USER_DETAILS)
		vhost_user_negotiated(vu);
	else if (features & BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		vhost_user_ask_u64(vu, VHOST_USER_GET_PROTOCOL_FEATURES);
	else
		ask_details(vu);
}

static void take_protocol(struct vhost_user *vu, uint64_t offered)
{
	uint64_t protocol = protocol_of(vu, offered);

	/* REPLY_ACK is in force after this message, not with it. */
	vhost_user_tell_u64(vu, VHOST_USER_SET_PROTOCOL_FEATURES, protocol);
	vu->session.protocol = protocol;
	if (vhost_user_has(vu, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		vu->dev.recovery = VHOST_RECOVERY_EXACT;
	ask_details(vu);
}

void vhost_user_negotiate_answer(struct vhost_user *vu, uint32_t request,
				 const struct vhost_user_message *m)
{
	uint64_t value = m->payload.u64;

	switch (request) {
	case VHOST_USER_GET_FEATURES:
		take_features(vu, value);
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		take_protocol(vu, value);
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		vu->dev.max_rings = (unsigned)MIN(value, (uint64_t)VHOST_MAX_RINGS);
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		vu->max_slots = (unsigned)MIN(value, (uint64_t)MM_MAP_MAX_REGIONS);
		break;
	}
}
