/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `vmm doctor` share: one check's result, and the tables of checks. */
#ifndef VMM_CLI_DOCTOR_CHECK_H
#define VMM_CLI_DOCTOR_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/* FAIL: no VM can run. WARN: something that VMs often want is missing. INFO: good to know. */
enum doctor_status { DOCTOR_OK, DOCTOR_INFO, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_result {
	enum doctor_status status;
	char value[96];	   /* the bare finding, for programs */
	char message[512]; /* one plain sentence */
	char fix[256];	   /* a command to type; empty when nothing is to be done */
};

/* What one check finds out for the later ones and for the verdict. */
struct doctor_facts {
	int kvm_fd;	   /* of /dev/kvm, borrowed, or -errno of open() */
	bool kvm_ok;	   /* VMs can run */
	bool kvm_hardware; /* Linux can run in them */
};

struct doctor_check {
	const char *id;
	void (*run)(struct doctor_result *ret, struct doctor_facts *facts);
};

extern const struct doctor_check doctor_kvm_checks[];
extern const size_t doctor_kvm_check_count;
extern const struct doctor_check doctor_host_checks[];
extern const size_t doctor_host_check_count;

void doctor_say(struct doctor_result *ret, enum doctor_status status, const char *value,
		const char *fmt, ...) printf_like(4, 5);
void doctor_fix(struct doctor_result *ret, const char *fmt, ...) printf_like(2, 3);

/* The first 64 KiB of a file in /proc or /sys, to be freed, or NULL. */
char *doctor_read(const char *path) must_check;

#endif
