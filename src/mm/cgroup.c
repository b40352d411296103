/* SPDX-License-Identifier: Apache-2.0 */
#include "mm/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

int cgroup_parse_limit(const char *text, uint64_t *ret_bytes)
{
	const uint64_t v1_unlimited = UINT64_C(0x7fffffffffff0000); /* of 64 KiB pages, or more */
	size_t n = strcspn(text, "\n");
	char word[32];
	uint64_t bytes;

	if (n >= sizeof(word))
		return -EINVAL;
	memcpy(word, text, n);
	word[n] = '\0';
	if (strcmp(word, "max") == 0) {
		*ret_bytes = UINT64_MAX;
		return 0;
	}
	if (text_parse_uint(word, &bytes) < 0)
		return -EINVAL;
	*ret_bytes = bytes >= v1_unlimited ? UINT64_MAX : bytes;
	return 0;
}

/* Does the comma-separated list [start, start + n) hold the word? */
static bool list_has(const char *list, size_t n, const char *word)
{
	size_t want = strlen(word);

	for (const char *end = list + n; list < end;) {
		size_t len = strcspn(list, ",:");

		if (len == want && memcmp(list, word, len) == 0)
			return true;
		list += len + 1;
	}
	return false;
}

/* One line is ID:CONTROLLERS:PATH; v2's has ID 0 and no controllers (cgroups(7)). */
int cgroup_parse_dir(const char *text, char *ret_dir, size_t len, bool *ret_v1)
{
	const char *v2 = NULL, *v1 = NULL, *path;
	int n;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *controllers = line + strcspn(line, ":\n");
		size_t size;

		if (*controllers != ':')
			continue;
		controllers++;
		size = strcspn(controllers, ":\n");
		if (controllers[size] != ':')
			continue;
		if (list_has(controllers, size, "memory"))
			v1 = controllers + size + 1;
		else if (size == 0)
			v2 = controllers + 1;
	}
	path = v1 ? v1 : v2;
	if (!path)
		return -ENOENT;
	n = snprintf(ret_dir, len, "/sys/fs/cgroup%s%.*s", v1 ? "/memory" : "",
		     (int)strcspn(path, "\n"), path);
	if (n < 0 || (size_t)n >= len)
		return -ENOSPC;
	*ret_v1 = v1 != NULL;
	return 0;
}

/* A small file of the kernel's, malloc()ed; NULL when it can't be read. */
static char *read_text(const char *path)
{
	enum { MOST = 4096 };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd >= 0 ? malloc(MOST) : NULL;
	ssize_t n = text ? read(fd, text, MOST - 1) : -1;

	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

/* The least limit of a cgroup and those above it; dir is cut on the way up to the mount point. */
static uint64_t least_limit(char *dir, bool v1)
{
	size_t top = strlen(v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup");
	uint64_t least = UINT64_MAX;

	while (strlen(dir) >= top) {
		_cleanup_free_ char *path = NULL, *text = NULL;
		uint64_t limit;

		if (asprintf(&path, "%s/%s", dir, v1 ? "memory.limit_in_bytes" : "memory.max") < 0)
			path = NULL;
		text = path ? read_text(path) : NULL;
		if (text && cgroup_parse_limit(text, &limit) == 0 && limit < least)
			least = limit;
		*strrchr(dir, '/') = '\0';
	}
	return least;
}

int cgroup_memory_limit(uint64_t *ret_bytes, bool *ret_v1)
{
	_cleanup_free_ char *text = read_text("/proc/self/cgroup");
	char dir[512];
	int r;

	if (!text)
		return -ENOENT;
	r = cgroup_parse_dir(text, dir, sizeof(dir), ret_v1);
	if (r == 0)
		*ret_bytes = least_limit(dir, *ret_v1);
	return r;
}
