/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

TestSuite(log, .timeout = 30);

static int new_file(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
	return fd;
}

static off_t size_of(int fd)
{
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	return st.st_size;
}

Test(log, later_files_take_the_number_of_the_first)
{
	int first = new_file(), second = new_file(), slot = -1;
	int first_copy = dup(first), second_copy = dup(second);

	log_init(-1, LOG_INFO);
	cr_assert_eq(log_take_over(first, &slot), 0);
	cr_assert_eq(slot, first);
	log_info("one");
	cr_assert_eq(log_take_over(second, &slot), 0);
	cr_assert_eq(slot, first);
	cr_assert_eq(log_fd(), first);
	cr_assert_eq(fcntl(second, F_GETFD), -1, "closed");
	cr_assert_eq(fcntl(slot, F_GETFD), FD_CLOEXEC);
	log_info("second");
	cr_assert_eq(size_of(first_copy), (off_t)strlen("vmm: one\n"));
	cr_assert_eq(size_of(second_copy), (off_t)strlen("vmm: second\n"));
}

Test(log, file_that_cannot_be_taken_changes_nothing)
{
	int slot = -1, first = new_file();

	log_init(-1, LOG_INFO);
	cr_assert_eq(log_take_over(first, &slot), 0);
	cr_assert_eq(log_take_over(100000, &slot), -EBADF);
	log_info("one");
	cr_assert_eq(size_of(first), (off_t)strlen("vmm: one\n"));
}

static atomic_bool stop;
static atomic_uint lines;

static void *log_on(void *arg)
{
	while (!atomic_load(&stop)) {
		log_info("line");
		atomic_fetch_add(&lines, 1);
	}
	return arg;
}

Test(log, no_line_is_lost_while_the_file_changes_under_another_thread)
{
	int slot = -1, files[64];
	off_t total = 0;
	pthread_t thread;

	log_init(-1, LOG_INFO);
	for (unsigned i = 0; i < 64; i++)
		files[i] = new_file();
	cr_assert_eq(log_take_over(dup(files[0]), &slot), 0);
	cr_assert_eq(pthread_create(&thread, NULL, log_on, NULL), 0);
	for (unsigned i = 1; i < 64; i++) {
		unsigned seen = atomic_load(&lines);

		while (atomic_load(&lines) == seen)
			;
		cr_assert_eq(log_take_over(fcntl(files[i], F_DUPFD_CLOEXEC, 3), &slot), 0);
	}
	atomic_store(&stop, true);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < 64; i++)
		total += size_of(files[i]);
	cr_assert_eq(total, (off_t)(atomic_load(&lines) * strlen("vmm: line\n")));
}
