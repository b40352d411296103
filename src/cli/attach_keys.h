/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-A and the key after it, on the way from the terminal to the guest. Pure. */
#ifndef VMM_CLI_ATTACH_KEYS_H
#define VMM_CLI_ATTACH_KEYS_H

#include <stdbool.h>
#include <stddef.h>

struct attach_keys {
	bool escaped;	   /* Ctrl-A was the last key */
	bool detach, help; /* asked for; the caller clears help */
};

/*
 * Leaves in typed[n] what is for the guest and returns how much that is. After Ctrl-A, another key
 * than a, d and h is dropped; so is what comes after Ctrl-A d.
 */
size_t attach_keys_filter(struct attach_keys *keys, char *typed, size_t n);

#endif
