/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --result: one JSON object about the run, written on every way out. The file is opened first of
 * all, so that a configuration error, too, has its result; its keys are documented in
 * docs/reference/result.md.
 */
#ifndef VMM_MACHINE_RESULT_H
#define VMM_MACHINE_RESULT_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "config/config.h"
#include "machine/outcome.h"
#include "machine/vm.h"

/* What the result says. vm is NULL when the run never came to one. */
struct result_input {
	const struct vm_config *config;
	const struct outcome *outcome;
	const char *error; /* message of END_VMM_ERROR, else NULL */
	struct vm *vm;
	uint64_t start_ns, exit_ns; /* CLOCK_MONOTONIC */
	uint64_t start_unix_ms;	    /* the same moment by the wall clock */
	const char *host_kernel;
	int kvm_api; /* 0: never asked */
};

/* Opens PATH, cut to nothing. The fd, or -errno with a message. */
int result_open(const char *path, struct err *err) must_check;
/* Writes the object and a newline. 0 or -errno. */
int result_write(int fd, const struct result_input *in) must_check;

/* Reason and codes only, for where there is no room for more. 0 or -errno. */
int result_write_short(int fd, const struct result_input *in) must_check;

/* What stands there while the VM runs, and stays when it is killed without a word: reason "lost".
 * Shorter than any other result, which is written over it. */
int result_write_lost(int fd) must_check;

/*
 * For the crash handler: writes a minimal object that says which signal it was. Async-signal-safe.
 * fd -1: does nothing.
 */
void result_write_crash(int fd, int sig);

#endif
