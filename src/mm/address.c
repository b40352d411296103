/* SPDX-License-Identifier: Apache-2.0 */
#include "mm/address.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/checked.h"

void *mm_address_reserve(uint64_t size, uint64_t align)
{
	uint64_t room, start, end;
	char *at;

	if (ckd_add(&room, size, align)) {
		errno = ENOMEM;
		return NULL;
	}
	at = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	/* The slack on both sides is given back. */
	start = align_up((uintptr_t)at, align) - (uintptr_t)at;
	end = start + size;
	if (start)
		(void)munmap(at, start);
	if (end < room)
		(void)munmap(at + end, room - end);
	return at + start;
}
