/* SPDX-License-Identifier: Apache-2.0 */
/* What only the io_uring engine has: the restricted ring, overflow, and why it can't be used. */
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "event/loop_internal.h"

static struct loop *loop;

static void open_loop(unsigned depth)
{
	struct loop_opts opts = {.engine = LOOP_URING, .depth = depth};
	struct err err = {0};

	need_uring();
	cr_assert_eq(loop_new_with(&opts, &loop, &err), 0, "%s", err.msg);
}

static void close_loop(void)
{
	loop = loop_free(loop);
}

TestSuite(loop_uring, .fini = close_loop, .timeout = 30);

/* Enables the ring. */
static void run_once(void)
{
	loop_stop(loop);
	cr_assert_eq(loop_run(loop), 0);
}

/* ---- the restriction ---- */

static void queue(void (*prepare)(struct io_uring_sqe *sqe), uint64_t data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(loop_uring_ring(loop));

	cr_assert_not_null(sqe);
	prepare(sqe);
	sqe->user_data = data;
}

/* The result of a request that is not the loop's. */
static int try(void (*prepare)(struct io_uring_sqe *sqe))
{
	struct io_uring *ring = loop_uring_ring(loop);
	enum { MINE = 1234567 };
	int result = 1;

	queue(prepare, MINE);
	cr_assert_geq(io_uring_submit_and_wait(ring, 1), 0);
	while (io_uring_cq_ready(ring) && result == 1) {
		struct io_uring_cqe *cqe;

		cr_assert_eq(io_uring_peek_cqe(ring, &cqe), 0);
		if (cqe->user_data == MINE)
			result = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	return result;
}

static void open_something(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void do_nothing(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void send_something(struct io_uring_sqe *sqe)
{
	io_uring_prep_send(sqe, 0, "x", 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void sync_plain_descriptor(struct io_uring_sqe *sqe)
{
	io_uring_prep_fsync(sqe, STDERR_FILENO, 0);
}

static void sync_linked(struct io_uring_sqe *sqe)
{
	io_uring_prep_fsync(sqe, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_IO_DRAIN;
}

static void poll_wake_fd(struct io_uring_sqe *sqe)
{
	io_uring_prep_poll_add(sqe, 0, POLLOUT);
	sqe->flags |= IOSQE_FIXED_FILE;
}

Test(loop_uring, ring_refuses_what_the_loop_does_not_do)
{
	open_loop(8);
	run_once();
	cr_assert_eq(try(do_nothing), -EACCES);
	cr_assert_eq(try(open_something), -EACCES);
	cr_assert_eq(try(send_something), -EACCES);
	cr_assert_eq(try(sync_plain_descriptor), -EACCES, "only registered files");
	cr_assert_eq(try(sync_linked), -EACCES, "no other flag");
	cr_assert_eq(try(poll_wake_fd), POLLOUT, "the way to ask works");
}

Test(loop_uring, ring_refuses_to_register_anything_but_files)
{
	struct io_uring *ring;
	static char page[4096];
	struct iovec iov = {page, sizeof(page)};
	int none = -1;

	open_loop(8);
	run_once();
	ring = loop_uring_ring(loop);
	cr_assert_eq(io_uring_register_buffers(ring, &iov, 1), -EACCES);
	cr_assert_eq(io_uring_register_personality(ring), -EACCES);
	cr_assert_eq(io_uring_register_eventfd(ring, STDERR_FILENO), -EACCES);
	cr_assert_eq(io_uring_register_files_update(ring, 5, &none, 1), 1);
}

static void *submit_from_elsewhere(void *arg)
{
	return (void *)(intptr_t)io_uring_submit_and_get_events(arg);
}

Test(loop_uring, ring_belongs_to_the_thread_that_ran_the_loop_first)
{
	pthread_t thread;
	void *result;

	open_loop(8);
	if (!(loop_uring_ring(loop)->flags & IORING_SETUP_SINGLE_ISSUER))
		cr_skip_test("this kernel has no IORING_SETUP_SINGLE_ISSUER");
	run_once();
	cr_assert_eq(pthread_create(&thread, NULL, submit_from_elsewhere, loop_uring_ring(loop)),
		     0);
	(void)pthread_join(thread, &result);
	cr_assert_eq((intptr_t)result, -EEXIST);
}

/* ---- what the kernel would not wait for ---- */

static int last_result;

static void note_result(struct loop_io *io, int result)
{
	(void)io;
	last_result = result;
	loop_stop(loop);
}

static char page[64];
static struct iovec into_page = {page, sizeof(page)};
static struct loop_io read_pipe = {
	.done = note_result, .op = LOOP_IO_READV, .iov = &into_page, .n_iov = 1};

static void read_without_waiting(struct io_uring_sqe *sqe)
{
	io_uring_prep_readv2(sqe, read_pipe.file, read_pipe.iov, read_pipe.n_iov, 0, RWF_NOWAIT);
	sqe->flags |= IOSQE_FIXED_FILE;
}

/* Older kernels say so for any file that is open with O_NONBLOCK, this one when it is told to. */
Test(loop_uring, request_answered_with_eagain_is_done_by_a_blocking_call)
{
	int fds[2];

	open_loop(8);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	read_pipe.file = loop_add_file(loop, fds[0]);
	cr_assert_geq(read_pipe.file, 0);
	queue(read_without_waiting, (uintptr_t)&read_pipe);
	cr_assert_eq(loop_run(loop), 0);
	if (last_result == -EOPNOTSUPP)
		cr_skip_test("this kernel (before 6.3) never answers EAGAIN for a pipe");
	cr_assert_eq(last_result, -ESPIPE, "what pread says to a pipe, not %d", last_result);
	close(fds[0]);
	close(fds[1]);
}

/* ---- rings that are too small ---- */

enum { MANY = 700 };
static struct loop_fd sources[MANY];
static bool seen[MANY];
static int n_seen;

static void see(struct loop_fd *source, uint32_t events)
{
	long i = source - sources;

	(void)events;
	if (!seen[i] && ++n_seen == MANY)
		loop_stop(loop);
	seen[i] = true;
}

static void kick_all(struct loop_work *work)
{
	(void)work;
	for (int i = 0; i < MANY; i++)
		eventfd_kick(sources[i].fd);
}

/* More polls to arm than the submission ring has room for, more events than the completion ring. */
Test(loop_uring, overflow_of_either_ring_loses_nothing)
{
	struct loop_work kick = {.run = kick_all};

	open_loop(1);
	cr_assert_lt(loop_uring_ring(loop)->cq.ring_entries, MANY);
	for (int i = 0; i < MANY; i++) {
		sources[i] = (struct loop_fd){.fd = eventfd_new(), .ready = see};
		cr_assert_eq(loop_add_fd(loop, &sources[i], EPOLLIN | EPOLLET), 0);
	}
	for (int round = 0; round < 5; round++) {
		n_seen = 0;
		memset(seen, 0, sizeof(seen));
		loop_post(loop, &kick);
		cr_assert_eq(loop_run(loop), 0);
		cr_assert_eq(n_seen, MANY);
	}
	for (int i = 0; i < MANY; i++) {
		loop_del_fd(loop, &sources[i]);
		close(sources[i].fd);
	}
	run_once();
}

Test(loop_uring, table_that_is_full_is_an_error)
{
	struct loop_fd *source = calloc(3000, sizeof(*source));
	int fd = eventfd_new(), n = 0, r = 0;

	cr_assert_not_null(source);
	open_loop(1);
	run_once();
	for (; n < 3000 && r == 0; n++) {
		source[n] = (struct loop_fd){.fd = fd, .ready = see};
		r = loop_add_fd(loop, &source[n], EPOLLIN);
	}
	cr_assert_eq(r, -ENOSPC);
	cr_assert_not(source[n - 1].added);
	/* What goes makes room at once. */
	loop_del_fd(loop, &source[0]);
	cr_assert_eq(loop_add_fd(loop, &source[n - 1], EPOLLIN), 0);
	close_loop();
	close(fd);
	free(source);
}

/* ---- why it can't be used ---- */

static void refuse_call(unsigned nr, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void assert_refused(int error, const char *words)
{
	struct loop_opts opts = {.engine = LOOP_URING};
	struct err err = {0}, same = {0};

	cr_assert_eq(loop_probe_uring(&err), error);
	cr_assert_eq(err.code, error);
	cr_assert(strstr(err.msg, words), "%s", err.msg);
	if (loop_new_with(&opts, &loop, &same) < 0)
		cr_assert_str_eq(same.msg, err.msg);
}

Test(loop_uring, probe_finds_nothing_wrong_where_it_works)
{
	struct err err = {0};

	need_uring();
	cr_assert_eq(loop_probe_uring(&err), 0);
	cr_assert_eq(err.code, 0);
}

Test(loop_uring, probe_blames_a_filter)
{
	need_uring();
	refuse_call(SYS_io_uring_setup, EPERM);
	assert_refused(-EPERM, "seccomp");
}

Test(loop_uring, probe_says_that_the_kernel_has_none)
{
	need_uring();
	refuse_call(SYS_io_uring_setup, ENOSYS);
	assert_refused(-ENOSYS, "no io_uring");
}

Test(loop_uring, probe_finds_out_that_only_entering_is_refused)
{
	need_uring();
	refuse_call(SYS_io_uring_enter, EPERM);
	assert_refused(-EPERM, "seccomp");
}

Test(loop_uring, probe_finds_out_that_registering_is_refused)
{
	need_uring();
	refuse_call(SYS_io_uring_register, EPERM);
	assert_refused(-EPERM, "seccomp");
}

Test(loop_uring, probe_says_that_the_kernel_is_too_old)
{
	need_uring();
	refuse_call(SYS_io_uring_register, EINVAL);
	assert_refused(-EINVAL, "5.13");
}

/* ---- files that are removed ---- */

static void stop_now(struct loop_work *work)
{
	(void)work;
	loop_stop(loop);
}

/* At least one: what was added or removed before has reached the kernel. */
static void turn(void)
{
	static struct loop_work work = {.run = stop_now};

	loop_post(loop, &work);
	cr_assert_eq(loop_run(loop), 0);
	loop_post(loop, &work);
	cr_assert_eq(loop_run(loop), 0);
}

static void nothing(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
}

/*
 * Linux up to 6.12 lets go of a removed file only when all requests are done that were begun
 * before: a poll that stays for ever would keep all of them.
 */
Test(loop_uring, files_that_are_removed_are_closed_though_a_poll_stays)
{
	enum { PAIRS = 300, MAY_LINGER = 100, PATIENCE_MS = 10000 };
	static int peers[PAIRS];
	struct loop_fd stays = {.ready = nothing};

	open_loop(8);
	stays.fd = eventfd_new();
	cr_assert_geq(stays.fd, 0);
	cr_assert_eq(loop_add_fd(loop, &stays, EPOLLIN | EPOLLET), 0);
	turn();
	for (unsigned i = 0; i < PAIRS; i++) {
		struct loop_fd source = {.ready = nothing};
		int pair[2];

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		peers[i] = pair[1];
		source.fd = pair[0];
		cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN), 0);
		turn();
		loop_del_fd(loop, &source);
		cr_assert_eq(close(pair[0]), 0);
		turn();
	}
	for (unsigned i = 0; i < PAIRS - MAY_LINGER; i++) {
		struct pollfd end = {.fd = peers[i], .events = POLLIN};

		cr_assert_eq(poll(&end, 1, PATIENCE_MS), 1, "socket %u is still open", i);
	}
	for (unsigned i = 0; i < PAIRS; i++)
		close(peers[i]);
	loop_del_fd(loop, &stays);
	close(stays.fd);
}
