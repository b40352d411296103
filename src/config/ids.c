/* SPDX-License-Identifier: Apache-2.0 */
/* What devices are called, and what kind a network card is. */
#include <stdio.h>

#include "config/config.h"

static const char *id_or(const char *id, const char *kind, unsigned i, char *buf)
{
	if (id)
		return id;
	(void)snprintf(buf, CONFIG_ID_LEN, "%s%u", kind, i);
	return buf;
}

const char *config_disk_id(const struct vm_config *config, unsigned i, char buf[CONFIG_ID_LEN])
{
	return id_or(config->disks[i].id, "disk", i, buf);
}

const char *config_net_id(const struct vm_config *config, unsigned i, char buf[CONFIG_ID_LEN])
{
	return id_or(config->nets[i].id, "net", i, buf);
}

const char *config_vhost_user_id(const struct vm_config *config, unsigned i,
				 char buf[CONFIG_ID_LEN])
{
	return id_or(config->vhost_users[i].id, "vhost", i, buf);
}

const char *config_pmem_id(const struct vm_config *config, unsigned i, char buf[CONFIG_ID_LEN])
{
	return id_or(config->pmem[i].id, "pmem", i, buf);
}

enum config_net_kind config_net_kind(const struct config_net *net)
{
	if (net->tap)
		return CONFIG_NET_TAP;
	if (net->fd)
		return CONFIG_NET_FD;
	if (net->user)
		return CONFIG_NET_USER;
	return net->stream ? CONFIG_NET_STREAM : CONFIG_NET_NONE;
}
