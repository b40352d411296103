/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the control sockets need: a loop, a listening socket with real clients, and
 * waiting for what happens. A guard timer fails a test that would wait for ever.
 */
#ifndef VMM_TESTS_CONTROL_WORLD_H
#define VMM_TESTS_CONTROL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "event/loop.h"
#include "tests/unit/loop_world.h"

/* A non-blocking listening unix socket; it has no file, so any user may try to connect. */
extern int world_listener;

void world_set_up(void);
/* Also checks that no descriptor was left open. */
void world_tear_down(void);

/* A client, which reads whatever comes while the loop runs, unless it is told to be deaf. */
struct client {
	struct loop_fd source;
	char buf[512 << 10]; /* 0-terminated */
	size_t n;
	bool ended; /* the end or a reset */
};
void client_connect(struct client *client);
/* As that user, when we are root. */
void client_connect_as(struct client *client, uid_t uid);
/* Connects, but does not read until client_listen(). */
void client_connect_deaf(struct client *client);
void client_listen(struct client *client);
void client_close(struct client *client);

/* Blocks until all is sent. */
void client_send(struct client *client, const char *text);
void client_send_bytes(struct client *client, const void *bytes, size_t n);
/* Wait for text to come (once, or n times), and for the end. */
void client_wait(struct client *client, const char *text);
void client_wait_times(struct client *client, const char *text, unsigned times);
void client_wait_end(struct client *client);
/* How often text came. */
unsigned client_count(const struct client *client, const char *text);

#endif
