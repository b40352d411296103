/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a saved state, little-endian, nothing aligned:
 *
 *   0   8  "VMMSTATE"
 *   8   4  format version
 *   then sections, each
 *       1  n, 1 to 63      n bytes of name
 *       1  n, 1 to 63      n bytes of type
 *       4  version, from 1
 *       8  n               n bytes of payload
 *   and the end mark
 *       1  0
 *       4  CRC-32 of all bytes before
 *
 * Names and types are printable ASCII without spaces. Inside this room only.
 */
#ifndef VMM_STATE_STATE_FORMAT_H
#define VMM_STATE_STATE_FORMAT_H

#include <stddef.h>

enum {
	STATE_MAGIC_LEN = 8,
	STATE_FORMAT = 1,
	STATE_HEADER_LEN = STATE_MAGIC_LEN + 4,
	STATE_NAME_MAX = 63,
	STATE_MAX_SECTIONS = 4096,
};

#define STATE_MAGIC "VMMSTATE"

#endif
