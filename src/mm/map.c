/* SPDX-License-Identifier: Apache-2.0 */
#include "mm/map.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

static bool overlap(const struct mm_region *a, const struct mm_region *b)
{
	return a->gpa.v - b->gpa.v < b->size || b->gpa.v - a->gpa.v < a->size;
}

int mm_map_add(struct mm_map *map, const struct mm_region *region)
{
	unsigned at = map->n;

	if (map->n == MM_MAP_MAX_REGIONS)
		return -ENOSPC;
	for (unsigned i = 0; i < map->n; i++)
		if (overlap(region, &map->regions[i]))
			return -EEXIST;
	for (; at > 0 && map->regions[at - 1].gpa.v > region->gpa.v; at--)
		map->regions[at] = map->regions[at - 1];
	map->regions[at] = *region;
	map->n++;
	return 0;
}

void *mm_map_host(const struct mm_map *map, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct mm_region *r = &map->regions[i];

		if (range_inside(gpa.v, len, r->gpa.v, r->size))
			return (char *)r->host + (gpa.v - r->gpa.v);
	}
	return NULL;
}

int mm_map_write(const struct mm_map *map, gpa_t gpa, const void *from, uint64_t len)
{
	void *host = mm_map_host(map, gpa, len);

	if (!host)
		return -EFAULT;
	memcpy(host, from, len);
	return 0;
}

int mm_map_read(const struct mm_map *map, gpa_t gpa, void *to, uint64_t len)
{
	const void *host = mm_map_host(map, gpa, len);

	if (!host)
		return -EFAULT;
	memcpy(to, host, len);
	return 0;
}

int mm_map_zero(const struct mm_map *map, gpa_t gpa, uint64_t len)
{
	void *host = mm_map_host(map, gpa, len);

	if (!host)
		return -EFAULT;
	memset(host, 0, len);
	return 0;
}
