/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts what the loop's thread of a world allocates and locks: nothing, on a data path. The
 * program is linked with --wrap for malloc, calloc, realloc and pthread_mutex_lock, which come
 * here.
 */
#ifndef VMM_TESTS_DATA_PATH_H
#define VMM_TESTS_DATA_PATH_H

#include "tests/unit/devices/vdev_world.h"

/* Counts from 0, of this world only. */
void data_path_watch(const struct vdev_world *w);
void data_path_look_away(void);
unsigned data_path_allocations(void);
unsigned data_path_locks(void);

#endif
