/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/doctor_parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
