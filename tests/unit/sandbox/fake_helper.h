/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers that are shell scripts, in a directory that is the whole PATH but for the system's own
 * programs; and a vmm with a broker that starts them. A table of its own: the row's number is the
 * kind.
 */
#ifndef VMM_TESTS_FAKE_HELPER_H
#define VMM_TESTS_FAKE_HELPER_H

#include "sandbox/broker.h"

enum fake {
	FAKE_ECHO,     /* says hello, is ready, sends back what it gets */
	FAKE_MISSING,  /* there is no such program */
	FAKE_BROKEN,   /* says two lines and ends with 3 */
	FAKE_SILENT,   /* is never ready */
	FAKE_STUBBORN, /* ignores SIGTERM */
	FAKE_FAMILY,   /* has a child in its group and one that left it; writes their pids */
	FAKE_FLAKY,    /* does not come up the second time */
	FAKE_LOUD,     /* says many lines when it gets a byte */
	FAKE_CURIOUS,  /* tells what it is */
	FAKE_ONCE,     /* as echo, not restarted */
	FAKES
};

extern char fake_dir[64];
extern struct helper_row fake_table[FAKES];

/* What the listener heard last, and how often. */
struct heard {
	struct broker_listener listener;
	unsigned died, restarted, not_restarted;
	char text[256];
	unsigned helper;
	int fd; /* of a restart */
};
extern struct heard heard;
extern struct broker *broker;

void fake_begin(void); /* scripts, broker */
void fake_end(void);   /* broker, scripts */

/* Starts one that has to come up. */
unsigned fake_start(enum fake kind, int *ret_fd);
/* The message of one that has not to. */
const char *fake_fails(enum fake kind, int code);
/* Reads from the broker until *what is at least n. */
void fake_wait(const unsigned *what, unsigned n);
/* The log so far; waits until it has this text. */
void fake_wait_for_log(const char *text);
/* What is in a file of fake_dir, once it is there. */
int fake_pid(const char *file);
void assert_gone(int pid);
/* Its other end sends back what is written. */
void assert_echo(int fd);

#endif
