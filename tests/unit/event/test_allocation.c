/* SPDX-License-Identifier: Apache-2.0 */
/* Once a loop has run, its turns allocate nothing. Counted by standing in front of glibc. */
#include "engine.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fd.h"

#if BUILT_WITH_ASAN
static const bool counts = false; /* the sanitizer stands there itself */
#else
static const bool counts = true;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
#endif
static atomic_ulong allocations;

#if !BUILT_WITH_ASAN
void *malloc(size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	atomic_fetch_add(&allocations, 1);
	return __libc_realloc(p, size);
}
#endif

/* All that a queue does: a kick, requests, a deferred end of the batch, posted work, a timer, and a
 * source that pauses, goes and comes. */
static struct {
	struct loop *loop;
	struct loop_fd kick, level;
	struct loop_io io[8];
	struct iovec iov;
	struct loop_work flush, post;
	struct loop_timer timer;
	char block[4096];
	int rounds;
} w;

static void on_kick(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	for (size_t i = 0; i < ARRAY_SIZE(w.io); i++)
		loop_io_submit(w.loop, &w.io[i]);
}

static void on_done(struct loop_io *io, int result)
{
	(void)io;
	if (result < 0)
		abort();
	loop_defer(w.loop, &w.flush);
}

static void on_flush(struct loop_work *work)
{
	(void)work;
	loop_post(w.loop, &w.post);
}

static void on_post(struct loop_work *work)
{
	(void)work;
	loop_timer_arm(w.loop, &w.timer, 0);
}

static void on_timer(struct loop_timer *timer)
{
	(void)timer;
	if (loop_add_fd(w.loop, &w.level, EPOLLIN) < 0)
		abort();
	eventfd_kick(w.level.fd);
}

static void on_level(struct loop_fd *source, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (read(source->fd, &count, sizeof(count)) != sizeof(count) ||
	    loop_mod_fd(w.loop, source, 0) < 0)
		abort();
	loop_del_fd(w.loop, source);
	if (--w.rounds == 0)
		loop_stop(w.loop);
	else
		eventfd_kick(w.kick.fd);
}

static void run_rounds(int n)
{
	w.rounds = n;
	eventfd_kick(w.kick.fd);
	if (loop_run(w.loop) < 0)
		abort();
}

static void make_world(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), file;

	cr_assert_geq(fd, 0);
	file = loop_add_file(w.loop, fd);
	cr_assert_geq(file, 0);
	w.iov = (struct iovec){w.block, sizeof(w.block)};
	for (size_t i = 0; i < ARRAY_SIZE(w.io); i++)
		w.io[i] = (struct loop_io){.done = on_done,
					   .op = i & 1 ? LOOP_IO_READV : LOOP_IO_WRITEV,
					   .file = file,
					   .iov = &w.iov,
					   .n_iov = 1};
	w.kick = (struct loop_fd){.fd = eventfd_new(), .ready = on_kick};
	w.level = (struct loop_fd){.fd = eventfd_new(), .ready = on_level};
	w.flush.run = on_flush;
	w.post.run = on_post;
	w.timer.fired = on_timer;
	cr_assert_eq(loop_add_fd(w.loop, &w.kick, EPOLLIN | EPOLLET), 0);
}

Test(allocation, turns_of_a_loop_allocate_nothing, .timeout = 30)
{
	void *volatile something;
	unsigned long before;

	if (!counts)
		cr_skip_test("a sanitizer has its own allocator");
	w.loop = engine_loop(4, 0);
	make_world();
	before = atomic_load(&allocations);
	something = malloc(1);
	free(something);
	cr_assert_eq(atomic_load(&allocations) - before, 1, "they are counted");
	run_rounds(1);
	before = atomic_load(&allocations);
	run_rounds(500);
	cr_assert_eq(atomic_load(&allocations), before);
	w.loop = loop_free(w.loop);
}
