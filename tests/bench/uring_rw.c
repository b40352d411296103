/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The most that the host gives: random 4 KiB requests to a file by io_uring, as simple as can be,
 * for comparison with a guest's through a VMM.
 *
 *   uring-rw FILE read|write DEPTH REQUESTS      prints the seconds that it took
 */
#include <fcntl.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { BLOCK = 4096, MAX_DEPTH = 64 };

static uint8_t blocks[MAX_DEPTH][BLOCK] __attribute__((aligned(BLOCK)));
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void queue(struct io_uring *ring, unsigned i, bool write, uint64_t n_blocks)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint64_t offset = next_random() % n_blocks * BLOCK;

	if (write)
		io_uring_prep_write(sqe, 0, blocks[i], BLOCK, offset);
	else
		io_uring_prep_read(sqe, 0, blocks[i], BLOCK, offset);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = i;
}

/* False when a request failed. */
static bool run(struct io_uring *ring, bool write, unsigned depth, uint64_t requests,
		uint64_t n_blocks)
{
	uint64_t begun = depth, done = 0;

	for (unsigned i = 0; i < depth; i++)
		queue(ring, i, write, n_blocks);
	while (done < requests) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;

		if (io_uring_submit_and_wait(ring, 1) < 0)
			return false;
		io_uring_for_each_cqe(ring, head, cqe)
		{
			n++;
			if (cqe->res != BLOCK)
				return false;
			if (begun < requests) {
				queue(ring, (unsigned)cqe->user_data, write, n_blocks);
				begun++;
			}
		}
		io_uring_cq_advance(ring, n);
		done += n;
	}
	return true;
}

int main(int argc, char *argv[])
{
	unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	struct io_uring ring;
	struct stat st;
	unsigned depth;
	double start;
	int fd;

	if (argc != 5)
		return 2;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	depth = (unsigned)strtoul(argv[3], NULL, 10);
	if (fd < 0 || fstat(fd, &st) < 0 || depth < 1 || depth > MAX_DEPTH ||
	    io_uring_queue_init(MAX_DEPTH, &ring, flags) < 0 ||
	    io_uring_register_files(&ring, &fd, 1) < 0) {
		perror(argv[1]);
		return 1;
	}
	start = now();
	if (!run(&ring, strcmp(argv[2], "write") == 0, depth, strtoull(argv[4], NULL, 10),
		 (uint64_t)st.st_size / BLOCK)) {
		(void)fprintf(stderr, "uring-rw: a request failed\n");
		return 1;
	}
	(void)printf("%.6f\n", now() - start);
	return 0;
}
