/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamp-exec FILE COMMAND [ARGUMENT...]: writes CLOCK_MONOTONIC in ns to FILE and becomes the
 * command, so that a time that the command tells can be counted from its exec.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	char text[32];
	struct timespec now;
	int fd, n;

	if (argc < 3)
		errx(2, "usage: stamp-exec FILE COMMAND [ARGUMENT...]");
	fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", argv[1]);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	n = snprintf(text, sizeof(text), "%" PRIu64,
		     (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
	if (write(fd, text, (size_t)n) != n)
		err(1, "%s", argv[1]);
	(void)execv(argv[2], argv + 2);
	err(1, "%s", argv[2]);
}
