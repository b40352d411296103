/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32 as Ethernet has it (IEEE 802.3): polynomial 0xedb88320, bits reversed. Any thread. */
#ifndef VMM_BASE_CRC32_H
#define VMM_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`, which is 0 at first. "123456789" gives 0xcbf43926. */
uint32_t crc32_update(uint32_t crc, const void *bytes, size_t len);

#endif
