/* SPDX-License-Identifier: Apache-2.0 */
/* Address space of this process, for memory that is mapped into it later with MAP_FIXED. */
#ifndef VMM_MM_ADDRESS_H
#define VMM_MM_ADDRESS_H

#include <stdint.h>

/* Takes size bytes without access rights at a multiple of align (a power of two, at least a page);
 * munmap() gives them back. NULL with errno set when there is no room. Any thread. */
void *mm_address_reserve(uint64_t size, uint64_t align);

#endif
