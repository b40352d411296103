/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_mem.h"

#include <sys/mman.h>

#include "base/assert.h"

enum { GUARD = 4096 };

static void *map_guarded(uint64_t size)
{
	char *p = mmap(NULL, size + 2 * GUARD, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	vmm_assert(p != MAP_FAILED);
	vmm_assert(mprotect(p + GUARD, size, PROT_READ | PROT_WRITE) == 0);
	return p + GUARD;
}

void guest_mem_init(struct guest_mem *mem)
{
	uint64_t high = GUEST_HIGH_END - GUEST_HIGH_START;

	*mem = (struct guest_mem){
		.map = {.n = 2,
			.regions = {{.gpa = GPA(0),
				     .size = GUEST_LOW_END,
				     .host = map_guarded(GUEST_LOW_END),
				     .fd = -1},
				    {.gpa = GPA(GUEST_HIGH_START),
				     .size = high,
				     .host = map_guarded(high),
				     .fd = -1}}},
		.next_low = MIB(1), /* an address of 0 is then a mistake */
		.next_high = GUEST_HIGH_START,
	};
}

void guest_mem_done(struct guest_mem *mem)
{
	for (unsigned i = 0; i < mem->map.n; i++)
		(void)munmap((char *)mem->map.regions[i].host - GUARD,
			     mem->map.regions[i].size + 2 * GUARD);
}

static uint64_t take(uint64_t *next, uint64_t end, uint64_t size, uint64_t align)
{
	uint64_t at = align_up(*next, align);

	vmm_assert(at <= end && size <= end - at);
	*next = at + size;
	return at;
}

uint64_t guest_alloc(struct guest_mem *mem, uint64_t size, uint64_t align)
{
	return take(&mem->next_low, GUEST_LOW_END, size, align);
}

uint64_t guest_alloc_high(struct guest_mem *mem, uint64_t size, uint64_t align)
{
	return take(&mem->next_high, GUEST_HIGH_END, size, align);
}

void *guest_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	void *host = mm_map_host(&mem->map, GPA(gpa), len);

	vmm_assert(host);
	return host;
}
