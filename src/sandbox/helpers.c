/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox/helpers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void helper_args_add(struct helper_args *args, const char *fmt, ...)
{
	char *at = args->text + args->used;
	size_t room = sizeof(args->text) - args->used;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(at, room, fmt, ap);
	va_end(ap);
	/* One is left for the NULL at the end. */
	if (n < 0 || (size_t)n >= room || args->n + 1 >= ARRAY_SIZE(args->argv)) {
		args->full = true;
		return;
	}
	args->used += (size_t)n + 1;
	args->argv[args->n++] = at;
	args->argv[args->n] = NULL;
}

/* ---- passt ---- */

static bool is_address(const char text[HELPER_ADDRESS_LEN])
{
	unsigned char binary[sizeof(struct in6_addr)];

	if (!memchr(text, '\0', HELPER_ADDRESS_LEN))
		return false;
	return !*text || inet_pton(AF_INET, text, binary) == 1 ||
	       inet_pton(AF_INET6, text, binary) == 1;
}

static int add_forward(const struct helper_forward *f, struct helper_args *args)
{
	if (!f->host || !f->guest || !is_address(f->address))
		return -EINVAL;
	helper_args_add(args, f->udp ? "-u" : "-t");
	helper_args_add(args, "%s%s%u:%u", f->address, *f->address ? "/" : "", f->host, f->guest);
	return 0;
}

/* Said of a protocol without ports: passt may open the TCP ports for UDP, too. */
static void close_rest(const struct helper_passt *passt, bool udp, struct helper_args *args)
{
	for (uint32_t i = 0; i < passt->n_forwards; i++)
		if (passt->forwards[i].udp == udp)
			return;
	helper_args_add(args, udp ? "-u" : "-t");
	helper_args_add(args, "none");
}

static int passt_arguments(const union helper_settings *settings, struct helper_args *args)
{
	enum { MAX_MTU = 65535 };
	const struct helper_passt *passt = &settings->passt;
	int r = 0;

	if (passt->n_forwards > HELPER_MAX_FORWARDS || passt->mtu > MAX_MTU)
		return -EINVAL;
	/* In the foreground, since the broker owns it; only warnings and errors. */
	helper_args_add(args, "--foreground");
	helper_args_add(args, "--quiet");
	helper_args_add(args, "--fd");
	helper_args_add(args, "%d", HELPER_SOCKET_FD);
	/* Written when all ports are bound. */
	helper_args_add(args, "--pid");
	helper_args_add(args, "/proc/self/fd/%d", HELPER_READY_FD);
	if (passt->mtu) {
		helper_args_add(args, "--mtu");
		helper_args_add(args, "%u", passt->mtu);
	}
	for (uint32_t i = 0; i < passt->n_forwards && r == 0; i++)
		r = add_forward(&passt->forwards[i], args);
	close_rest(passt, false, args);
	close_rest(passt, true, args);
	return r;
}

/* ---- the table ---- */

const struct helper_row helper_table[HELPER_KINDS] = {
	[HELPER_PASST] =
		{
			.name = "passt",
			.package = "passt",
			.arguments = passt_arguments,
			.noise = "Failed to send ", /* "... 47 bytes to syslog", where there is none
						     */
			.capabilities = UINT64_C(1) << CAP_NET_BIND_SERVICE, /* ports below 1024 */
			.as_nobody = true, /* as it would itself, but this way it can say that it
					      is ready */
			.restarts = true,
			.patience = 60000, /* it touches 30 MiB, which takes a busy emulator long */
			.backoff = 100,
			.backoff_max = 10000,
			.steady = 10000,
			.grace = 1000,
		},
};
