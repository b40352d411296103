/* SPDX-License-Identifier: Apache-2.0 */
#include "mm/discard.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/checked.h"

enum { PAGE = 4096 };

static uint64_t page_of(const struct mm_region *r)
{
	return r->page_size ? r->page_size : PAGE;
}

static const struct mm_region *find(const struct mm_map *map, uint64_t gpa)
{
	for (unsigned i = 0; i < map->n; i++)
		if (gpa - map->regions[i].gpa.v < map->regions[i].size)
			return &map->regions[i];
	return NULL;
}

/* [*start, *end) of the region, aligned inwards to its pages; false when nothing is left. */
static bool whole_pages(const struct mm_region *r, uint64_t *start, uint64_t *end)
{
	uint64_t page = page_of(r);

	*start = align_up(*start, page);
	*end = align_down(*end, page);
	return *start < *end;
}

static int discard_part(const struct mm_region *r, uint64_t start, uint64_t end, uint64_t *bytes)
{
	int failed;

	if (!whole_pages(r, &start, &end))
		return 0;
	if (r->fd >= 0)
		failed = fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(r->offset + start), (off_t)(end - start));
	else
		failed = madvise((char *)r->host + start, end - start, MADV_DONTNEED);
	if (failed < 0)
		return -errno;
	*bytes += end - start;
	return 0;
}

static int claim_part(const struct mm_region *r, uint64_t start, uint64_t end, uint64_t *bytes)
{
	(void)bytes;
	if (!r->page_size || !whole_pages(r, &start, &end))
		return 0;
	return fallocate(r->fd, 0, (off_t)(r->offset + start), (off_t)(end - start)) < 0 ? -errno
											 : 0;
}

typedef int (*part_fn)(const struct mm_region *r, uint64_t start, uint64_t end, uint64_t *bytes);

static int check_part(const struct mm_region *r, uint64_t start, uint64_t end, uint64_t *bytes)
{
	(void)start;
	(void)end;
	(void)bytes;
	return r->keep ? -EFAULT : 0;
}

static int for_each_part(const struct mm_map *map, uint64_t gpa, uint64_t len, part_fn fn,
			 uint64_t *bytes)
{
	while (len > 0) {
		const struct mm_region *r = find(map, gpa);
		uint64_t start, part;
		int e;

		if (!r)
			return -EFAULT;
		start = gpa - r->gpa.v;
		part = MIN(len, r->size - start);
		e = fn(r, start, start + part, bytes);
		if (e < 0)
			return e;
		gpa += part;
		len -= part;
	}
	return 0;
}

static int check_and_do(const struct mm_map *map, uint64_t gpa, uint64_t len, part_fn fn,
			uint64_t *bytes)
{
	int r = for_each_part(map, gpa, len, check_part, bytes);

	return r < 0 ? r : for_each_part(map, gpa, len, fn, bytes);
}

int mm_discard(const struct mm_map *map, gpa_t gpa, uint64_t len, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;
	int r = check_and_do(map, gpa.v, len, discard_part, &bytes);

	if (r == 0)
		*ret_bytes = bytes;
	return r;
}

int mm_discard_host(const struct mm_map *map, const void *host, uint64_t len, uint64_t *ret_bytes)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct mm_region *r = &map->regions[i];

		if (range_inside((uintptr_t)host, len, (uintptr_t)r->host, r->size))
			return mm_discard(map,
					  GPA(r->gpa.v + ((uintptr_t)host - (uintptr_t)r->host)),
					  len, ret_bytes);
	}
	return -EFAULT;
}

int mm_claim(const struct mm_map *map, gpa_t gpa, uint64_t len)
{
	uint64_t bytes = 0;

	return check_and_do(map, gpa.v, len, claim_part, &bytes);
}

uint64_t mm_discard_granule(const struct mm_map *map)
{
	uint64_t granule = PAGE;

	for (unsigned i = 0; i < map->n; i++)
		if (!map->regions[i].keep)
			granule = MAX(granule, page_of(&map->regions[i]));
	return granule;
}

/* ---- who may not have it, and who needs it ---- */

static int clash(const struct mm_discard_ledger *ledger, struct err *err)
{
	return err_set(
		err, -EBUSY,
		"%s needs guest memory that stays where it is, and %s gives pages of it back "
		"to the host; leave one of them out",
		ledger->blocker, ledger->requirer);
}

int mm_discard_block(struct mm_discard_ledger *ledger, const char *who, struct err *err)
{
	if (!ledger->blocks)
		ledger->blocker = who;
	if (ledger->requires)
		return clash(ledger, err);
	ledger->blocks++;
	return 0;
}

int mm_discard_require(struct mm_discard_ledger *ledger, const char *who, struct err *err)
{
	if (!ledger->requires)
		ledger->requirer = who;
	if (ledger->blocks)
		return clash(ledger, err);
	ledger->requires ++;
	return 0;
}

void mm_discard_unblock(struct mm_discard_ledger *ledger)
{
	vmm_assert(ledger->blocks > 0);
	ledger->blocks--;
}

void mm_discard_unrequire(struct mm_discard_ledger *ledger)
{
	vmm_assert(ledger->requires > 0);
	ledger->requires --;
}
