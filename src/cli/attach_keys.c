/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attach_keys.h"

enum { CTRL_A = 1 };

/* As in `vmm run`, a key that means nothing is dropped. */
static size_t escaped_key(struct attach_keys *keys, char key, char *out)
{
	keys->escaped = false;
	if (key == 'a' || key == CTRL_A) {
		*out = CTRL_A;
		return 1;
	}
	if (key == 'd')
		keys->detach = true;
	if (key == 'h')
		keys->help = true;
	return 0;
}

size_t attach_keys_filter(struct attach_keys *keys, char *typed, size_t n)
{
	size_t len = 0;

	/* In place: what is left is never longer than what was read. */
	for (size_t i = 0; i < n && !keys->detach; i++) {
		if (keys->escaped)
			len += escaped_key(keys, typed[i], typed + len);
		else if (typed[i] == CTRL_A)
			keys->escaped = true;
		else
			typed[len++] = typed[i];
	}
	return len;
}
