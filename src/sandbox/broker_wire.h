/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vmm and its broker tell each other: one message is one packet of a SOCK_SEQPACKET pair, a
 * descriptor goes with it by SCM_RIGHTS. Both are one program, and still neither trusts the other's
 * numbers: vmm may have been taken over by its guest.
 */
#ifndef VMM_SANDBOX_BROKER_WIRE_H
#define VMM_SANDBOX_BROKER_WIRE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "sandbox/helpers.h"

enum { BROKER_TEXT = 768 };

enum broker_request_type { BROKER_START = 1 };

struct broker_request {
	uint32_t type;
	uint32_t kind;			/* enum helper_kind */
	union helper_settings settings; /* of that kind */
};

enum broker_reply_type {
	BROKER_HELLO = 1,     /* the broker is there; with text: it can't be, and why */
	BROKER_STARTED,	      /* its start was asked for; with descriptor */
	BROKER_START_FAILED,  /* the same, code and text say why */
	BROKER_LINE,	      /* text: of its standard error */
	BROKER_PREFACE,	      /* text: the same, of a start that went well */
	BROKER_DIED,	      /* text: how */
	BROKER_RESTARTED,     /* with descriptor */
	BROKER_NOT_RESTARTED, /* tries again later; text: why */
};

struct broker_reply {
	uint32_t type;
	uint32_t helper; /* number */
	int32_t code;	 /* -errno */
	char text[BROKER_TEXT];
};

/* Both keep to the socket's blocking mode. fd -1: none goes along. 0 or -errno. */
int broker_wire_send(int sock, const void *message, size_t len, int fd) must_check;
/*
 * The packet's length, 0 when the other side is gone, or -errno; -EMSGSIZE when it was longer than
 * len or brought more than one descriptor. *ret_fd is close-on-exec, -1 when none came.
 */
ssize_t broker_wire_receive(int sock, void *message, size_t len, int *ret_fd) must_check;

#endif
