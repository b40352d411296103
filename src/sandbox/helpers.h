/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs that the broker may start, as data: a new one is a row of the table, its settings
 * and a function that makes its arguments of them. Nobody can give the broker a program or an
 * argument of his own: vmm's side only fills in settings, and the broker's side checks them.
 *
 * A helper finds its end of a connected stream socket as descriptor HELPER_SOCKET_FD, and says that
 * it is ready by writing anything to HELPER_READY_FD (both by number on its command line). It has
 * no standard input and output, its standard error becomes lines of vmm's log.
 */
#ifndef VMM_SANDBOX_HELPERS_H
#define VMM_SANDBOX_HELPERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum helper_kind { HELPER_PASST, HELPER_KINDS };

enum { HELPER_SOCKET_FD = 3, HELPER_READY_FD = 4, HELPER_FDS = 5 };

enum { HELPER_MAX_FORWARDS = 128, HELPER_ADDRESS_LEN = 46 };

/* A port of the host that leads to one of the guest. */
struct helper_forward {
	char address[HELPER_ADDRESS_LEN]; /* IPv4 or IPv6, as text; "": all of the host */
	uint16_t host, guest;		  /* not 0 */
	bool udp;
};

/* passt(1): a guest's network without privileges. */
struct helper_passt {
	uint32_t mtu; /* that its DHCP tells the guest; 0: its own choice */
	uint32_t n_forwards;
	struct helper_forward forwards[HELPER_MAX_FORWARDS];
};

union helper_settings {
	struct helper_passt passt;
};

/* A command line that grows; what does not fit marks it full. */
struct helper_args {
	bool full;
	unsigned n;
	size_t used;
	char *argv[2 * HELPER_MAX_FORWARDS + 32]; /* NULL behind the last */
	char text[16384];
};
void helper_args_add(struct helper_args *args, const char *fmt, ...) printf_like(2, 3);

struct helper_row {
	const char *name;    /* the program, looked for in PATH; of it in messages */
	const char *package; /* Debian's */
	/* Adds the arguments behind the program's name. -EINVAL: settings that can't be. */
	int (*arguments)(const union helper_settings *settings, struct helper_args *args);
	const char *noise;     /* lines of its standard error that begin so are dropped; or NULL */
	uint64_t capabilities; /* bits by number; it keeps those of them that vmm had */
	bool as_nobody;	       /* with vmm as root it runs as the user nobody */
	bool restarts;	       /* when it dies it is started again */
	/* Milliseconds: until it has to be ready; before the first restart, and, doubled each time,
	 * at most before a later one; after which a helper's death is not one of a series;
	 * between SIGTERM and SIGKILL at the end. */
	unsigned patience, backoff, backoff_max, steady, grace;
};

extern const struct helper_row helper_table[HELPER_KINDS];

#endif
