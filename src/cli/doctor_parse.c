/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor_parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

bool doctor_parse_cpu_flag(const char *cpuinfo, const char *flag)
{
	const char *line = strncmp(cpuinfo, "flags", 5) == 0 ? cpuinfo : strstr(cpuinfo, "\nflags");
	size_t want = strlen(flag);

	if (!line)
		return false;
	for (line += strcspn(line, ":"); *line && *line != '\n';) {
		size_t n;

		line += strspn(line, " \t:");
		n = strcspn(line, " \t:\n");
		if (n == want && memcmp(line, flag, n) == 0)
			return true;
		line += n;
	}
	return false;
}

static int copy(const char *from, size_t n, char *ret, size_t len)
{
	if (n >= len)
		return -ENOSPC;
	memcpy(ret, from, n);
	ret[n] = '\0';
	return 0;
}

int doctor_parse_choice(const char *text, char *ret, size_t len)
{
	const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;

	if (!close)
		return -EINVAL;
	return copy(open + 1, (size_t)(close - open - 1), ret, len);
}

int doctor_parse_limit(const char *text, uint64_t *ret_bytes)
{
	const uint64_t v1_unlimited = UINT64_C(0x7fffffffffff0000); /* of 64 KiB pages, or more */
	char word[32];
	uint64_t bytes;

	if (copy(text, strcspn(text, "\n"), word, sizeof(word)) < 0)
		return -EINVAL;
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
int doctor_parse_cgroup(const char *text, char *ret_dir, size_t len, bool *ret_v1)
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

void doctor_landlock_gaps(int abi, char *ret, size_t len)
{
	static const struct {
		int since; /* the ABI that closed it */
		const char *what;
	} gaps[] = {
		{1, "opening files by path"},
		{3, "cutting files (truncate)"},
		{4, "TCP ports"},
		{5, "ioctl on device files"},
		{6, "abstract unix sockets and signals to other processes"},
	};
	size_t used = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(gaps) && used < len; i++) {
		if (abi >= gaps[i].since)
			continue;
		used += (size_t)snprintf(ret + used, len - used, "%s%s", used ? ", " : "",
					 gaps[i].what);
	}
}

enum doctor_kvm_kind doctor_kvm_kind(bool cpu_flag, bool module_hardware, bool module_software)
{
	if (cpu_flag && module_hardware)
		return DOCTOR_KVM_HARDWARE;
	if (module_software)
		return DOCTOR_KVM_SOFTWARE;
	return cpu_flag ? DOCTOR_KVM_HARDWARE : DOCTOR_KVM_UNKNOWN;
}
