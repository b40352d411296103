/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gen_filters writes when vmm is built: the filter programs and the names of the system calls.
 * Constant data without pointers into libseccomp. In a build without seccomp (filters_none.c) the
 * programs are empty.
 */
#ifndef VMM_SANDBOX_FILTERS_H
#define VMM_SANDBOX_FILTERS_H

#include <linux/filter.h>

#include "sandbox/sandbox.h"

struct sandbox_program {
	const struct sock_filter *insns;
	unsigned short len; /* instructions; 0 in a build without seccomp */
};

/* For SANDBOX_STRICT and SANDBOX_LOG. */
extern const struct sandbox_program sandbox_programs[SANDBOX_ROLES][SANDBOX_OFF];

/* Of the broker and its helpers with SANDBOX_STRICT: everything but what roles/broker.h refuses. */
extern const struct sandbox_program sandbox_broker_program;

/* Names of calls 0, 1, ... of x86-64, each ended by a 0 byte, an empty one where the number is not
 * taken. */
extern const char sandbox_call_names[];
extern const unsigned sandbox_call_count;

#endif
