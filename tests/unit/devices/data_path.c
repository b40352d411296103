/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/devices/data_path.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Atomic(const struct vdev_world *) watched;
static atomic_uint n_allocations, n_locks;

static bool is_watched(void)
{
	const struct vdev_world *w = atomic_load(&watched);

	return w && w->running && pthread_equal(pthread_self(), w->thread);
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *at, size_t size);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t size);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);

void *__wrap_malloc(size_t size)
{
	n_allocations += is_watched();
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	n_allocations += is_watched();
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *at, size_t size)
{
	n_allocations += is_watched();
	return __real_realloc(at, size);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	n_locks += is_watched();
	return __real_pthread_mutex_lock(mutex);
}

void data_path_watch(const struct vdev_world *w)
{
	n_allocations = n_locks = 0;
	atomic_store(&watched, w);
}

void data_path_look_away(void)
{
	atomic_store(&watched, NULL);
}

unsigned data_path_allocations(void)
{
	return n_allocations;
}

unsigned data_path_locks(void)
{
	return n_locks;
}
