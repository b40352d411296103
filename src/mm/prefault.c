/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/mutex.h"
#include "mm/ram.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum { MAX_THREADS = 16 };

/* Workers take chunks off `next` until none is left or one has failed. */
struct job {
	const struct mm_ram *ram;
	const struct mm_prefault *how;
	uint64_t chunk;
	_Atomic uint64_t next;
	_Atomic uint64_t done;
	_Atomic int error;
	pthread_mutex_t lock;
	pthread_cond_t progress;
	unsigned running;
};

static void populate(struct job *job)
{
	for (;;) {
		uint64_t at = atomic_fetch_add(&job->next, job->chunk);
		uint64_t len;

		if (at >= job->ram->size || atomic_load(&job->error))
			return;
		len = MIN(job->chunk, job->ram->size - at);
		if (madvise((char *)job->ram->host + at, len, MADV_POPULATE_WRITE) < 0) {
			atomic_store(&job->error, errno);
			return;
		}
		atomic_fetch_add(&job->done, len);
		(void)pthread_cond_signal(&job->progress);
	}
}

static void *worker(void *arg)
{
	struct job *job = arg;
	int r = job->how->enter ? job->how->enter(job->how) : 0;

	if (r < 0)
		atomic_store(&job->error, -r);
	else
		populate(job);
	(void)pthread_mutex_lock(&job->lock);
	job->running--;
	(void)pthread_cond_signal(&job->progress);
	(void)pthread_mutex_unlock(&job->lock);
	return NULL;
}

static void wait_for_workers(struct job *job)
{
	const struct mm_prefault *how = job->how;
	uint64_t told = 0;

	(void)pthread_mutex_lock(&job->lock);
	while (job->running > 0) {
		uint64_t done;

		(void)pthread_cond_wait(&job->progress, &job->lock);
		done = atomic_load(&job->done);
		if (how->progress && done != told)
			how->progress(done, job->ram->size);
		if (how->cancelled && how->cancelled())
			atomic_store(&job->error, EINTR);
		told = done;
	}
	(void)pthread_mutex_unlock(&job->lock);
}

int mm_ram_prefault(const struct mm_ram *ram, const struct mm_prefault *how, struct err *err)
{
	struct job job = {.ram = ram, .how = how, .chunk = MAX(ram->page_size, MIB(64))};
	pthread_t threads[MAX_THREADS];
	unsigned n = 0, want = how->threads < MAX_THREADS ? how->threads : MAX_THREADS;
	int e;

	(void)pthread_mutex_init(&job.lock, NULL);
	(void)pthread_cond_init(&job.progress, NULL);
	(void)pthread_mutex_lock(&job.lock);
	for (; n < want && pthread_create(&threads[n], NULL, worker, &job) == 0; n++)
		job.running++;
	(void)pthread_mutex_unlock(&job.lock);
	if (n == 0)
		populate(&job);
	wait_for_workers(&job);
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	(void)pthread_cond_destroy(&job.progress);
	(void)pthread_mutex_destroy(&job.lock);
	e = atomic_load(&job.error);
	if (e == EINTR)
		return err_set(err, -e, "prefault=on: stopped by a signal");
	if (e == EINVAL)
		return err_set(err, -ENOTSUP,
			       "prefault=on: the host's kernel can't do it, it needs Linux 5.14");
	if (e)
		return err_set(err, -e,
			       "prefault=on: the host could not give all of the guest's memory: %s",
			       strerror(e));
	return 0;
}
