/* SPDX-License-Identifier: Apache-2.0 */
/* An I/O thread inside its role, with each engine, and main inside its own. */
#include "child.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fd.h"
#include "event/io_thread.h"

/* What the thread is to do: all that its loop can, from sources to files, and memory. */
static struct world {
	enum loop_engine engine;
	struct loop *loop;
	struct loop_work work;
	struct loop_fd kick, socket;
	struct loop_timer timer;
	struct loop_io io[5];
	struct iovec iov;
	char block[512];
	int peer, left;
	sem_t done;
} w;

static int enter_io(const struct io_thread_entry *entry, struct err *err)
{
	(void)entry;
	return sandbox_enter_role(SANDBOX_STRICT, SANDBOX_IO, err);
}

static void step(void)
{
	if (--w.left == 0)
		(void)sem_post(&w.done);
}

static void io_done(struct loop_io *io, int result)
{
	(void)io;
	if (result < 0)
		_exit(50);
	step();
}

static void on_kick(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	loop_timer_arm(w.loop, &w.timer, 1);
}

static void on_timer(struct loop_timer *timer)
{
	(void)timer;
	for (size_t i = 0; i < ARRAY_SIZE(w.io); i++)
		loop_io_submit(w.loop, &w.io[i]);
}

static void on_socket(struct loop_fd *source, uint32_t events)
{
	char byte;

	(void)events;
	if (recv(source->fd, &byte, 1, MSG_DONTWAIT) != 1 || send(source->fd, &byte, 1, 0) != 1)
		_exit(51);
	loop_del_fd(w.loop, source);
	(void)close(source->fd);
	step();
}

static void give_memory_back(void)
{
	static const int advices[] = {MADV_POPULATE_WRITE, MADV_FREE, MADV_DONTNEED};
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		_exit(52);
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		(void)madvise(page, 4096, advices[i]);
	(void)munmap(page, 4096);
}

static void begin(struct loop_work *work)
{
	(void)work;
	give_memory_back();
	if (loop_add_fd(w.loop, &w.kick, EPOLLIN | EPOLLET) < 0 ||
	    loop_add_fd(w.loop, &w.socket, EPOLLIN) < 0)
		_exit(53);
	eventfd_kick(w.kick.fd);
}

static int make_requests(void)
{
	static const enum loop_io_op ops[] = {LOOP_IO_WRITEV, LOOP_IO_READV, LOOP_IO_FDATASYNC,
					      LOOP_IO_FALLOCATE, LOOP_IO_READV};
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int file = fd < 0 ? fd : loop_add_file(w.loop, fd);

	w.iov = (struct iovec){w.block, sizeof(w.block)};
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		w.io[i] = (struct loop_io){.done = io_done,
					   .op = ops[i],
					   .file = file,
					   .iov = &w.iov,
					   .n_iov = 1,
					   .len = 4096};
	return file < 0 ? -1 : 0;
}

static int make_world(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -1;
	w.work.run = begin;
	w.kick = (struct loop_fd){.fd = eventfd_new(), .ready = on_kick};
	w.socket = (struct loop_fd){.fd = fds[0], .ready = on_socket};
	w.timer.fired = on_timer;
	w.peer = fds[1];
	w.left = (int)ARRAY_SIZE(w.io) + 1;
	if (write(w.peer, "x", 1) != 1 || sem_init(&w.done, 0, 0))
		return -1;
	return make_requests();
}

static int live(void)
{
	static const struct io_thread_entry entry = {enter_io};
	struct io_thread_opts opts = {.loop = {.engine = w.engine, .depth = 4}, .cpu = -1};
	struct io_thread *thread;
	struct err err = {0};
	char byte;

	if (io_thread_new(&opts, &thread, &err) < 0)
		return 1;
	w.loop = io_thread_loop(thread);
	if (make_world() < 0 || child_lock(SANDBOX_STRICT, NULL) < 0)
		return 2;
	if (io_thread_start(thread, &entry, &err) < 0)
		return 3;
	if (child_enter(SANDBOX_STRICT, SANDBOX_MAIN) < 0)
		return 4;
	loop_post(w.loop, &w.work);
	if (sem_wait(&w.done) || read(w.peer, &byte, 1) != 1 || read(w.peer, &byte, 1) != 0)
		return 5;
	io_thread_stop(thread);
	loop_del_fd(w.loop, &w.kick);
	thread = io_thread_free(thread);
	return 0;
}

static void assert_lives(void)
{
	struct child child = child_run(live);

	cr_assert_eq(child.code, 0, "code %d signal %d: %s", child.code, child.sig, child.text);
}

Test(io_role, thread_with_epoll_lives_and_is_freed_by_main)
{
	need_seccomp();
	w.engine = LOOP_EPOLL;
	assert_lives();
}

Test(io_role, thread_with_io_uring_lives_and_is_freed_by_main)
{
	struct err err = {0};

	need_seccomp();
	if (loop_probe_uring(&err) < 0)
		cr_skip_test("%s", err.msg);
	w.engine = LOOP_URING;
	assert_lives();
}
