/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/user_net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host_port.h"
#include "base/fd.h"

struct user_net {
	struct vm_helper_user user;
	struct net *net;
	char id[CONFIG_ID_LEN];
};

static_assert((int)HELPER_MAX_FORWARDS >= (int)CONFIG_MAX_ELEMENTS, "each --publish has a place");
static_assert(sizeof(((struct helper_forward *)0)->address) ==
		      sizeof(((struct config_forward *)0)->address),
	      "addresses are copied");

/* ---- ports ---- */

/* passt itself is content with one of IPv4 and IPv6, and says nothing. */
static int check_port(const char *text, const struct config_forward *f, struct err *err)
{
	const char *kind = f->udp ? "UDP" : "TCP";
	int r = host_port_probe(f->address, f->host, f->udp);

	switch (r) {
	case 0:
		return 0;
	case -EADDRINUSE:
		return err_set(err, r,
			       "--publish %s: %s port %u of the host is in use: choose another, or "
			       "end the program that has it",
			       text, kind, f->host);
	case -EACCES:
		return err_set(err, r,
			       "--publish %s: %s port %u of the host is for privileged programs "
			       "only: choose one from 1024 on, or lower "
			       "net.ipv4.ip_unprivileged_port_start",
			       text, kind, f->host);
	case -EADDRNOTAVAIL:
		return err_set(err, r, "--publish %s: %s is no address of this host", text,
			       f->address);
	default:
		return err_set(err, r, "--publish %s: %s port %u of the host can't be had: %s",
			       text, kind, f->host, strerror(-r));
	}
}

static int add_forward(const char *text, struct helper_passt *passt, struct err *err)
{
	struct helper_forward *to = &passt->forwards[passt->n_forwards];
	struct config_forward from;
	int r = config_parse_publish(text, &from, err);

	if (r == 0)
		r = check_port(text, &from, err);
	if (r < 0)
		return r;
	*to = (struct helper_forward){.host = from.host, .guest = from.guest, .udp = from.udp};
	memcpy(to->address, from.address, sizeof(to->address));
	passt->n_forwards++;
	return 0;
}

/* ---- passt ---- */

static void on_connected(struct vm_helper_user *user, int fd)
{
	net_stream_replace(container_of(user, struct user_net, user)->net, fd);
}

static const struct vm_helper_user_ops user_ops = {.connected = on_connected};

/* A port that was taken after it was probed is what passt would complain about. */
static int start_passt(struct user_net *u, const struct vm_config *config,
		       const struct config_net *net, struct vm_helpers *helpers, int *ret_fd,
		       struct err *err)
{
	union helper_settings *settings = calloc(1, sizeof(*settings));
	int r = 0;

	if (!settings)
		return err_set(err, -ENOMEM, "out of memory");
	settings->passt.mtu = net->mtu;
	for (unsigned i = 0; i < config->n_publish && r == 0; i++)
		r = add_forward(config->publish[i].text, &settings->passt, err);
	if (r == 0) {
		r = vm_helpers_start(helpers, HELPER_PASST, settings, &u->user, ret_fd, err);
		if (r < 0)
			err_prefix(err, config->n_publish && r != -ENOENT ? "--net user, --publish"
									  : "--net user");
	}
	free(settings);
	return r;
}

int user_net_open(const struct vm_config *config, unsigned i, struct vm_helpers *helpers,
		  struct user_net **ret, struct net **ret_net, struct err *err)
{
	struct user_net *u = calloc(1, sizeof(*u));
	int fd = -1, r;

	if (!u)
		return err_set(err, -ENOMEM, "out of memory");
	u->user = (struct vm_helper_user){.ops = &user_ops,
					  .device = config_net_id(config, i, u->id)};
	r = start_passt(u, config, &config->nets[i], helpers, &fd, err);
	if (r == 0)
		r = net_stream_adopt("--net user", fd, &u->net, err);
	if (r < 0) {
		(void)fd_close(fd);
		free(u);
		return r;
	}
	net_set_description(u->net, "user network, by passt");
	*ret = u;
	*ret_net = u->net;
	return 0;
}

struct user_net *user_net_free(struct user_net *u)
{
	free(u);
	return NULL;
}
