/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMs that a command is about: found by name, taken through the command's steps together, and
 * told about at the end. What goes wrong with one does not hinder the others.
 */
#ifndef VMM_CLI_VM_SET_H
#define VMM_CLI_VM_SET_H

#include <jansson.h>

#include "base/compiler.h"
#include "base/err.h"
#include "cli/options.h"
#include "cli/table.h"
#include "control/rundir.h"

struct vm_ref {
	struct rundir_entry entry; /* as it was found */
	int dir_fd;
	int result_fd;	      /* -1: none; kept open, since a VM may take its directory along */
	uint64_t deadline_ns; /* for the command's own steps */
	json_t *answer;	      /* an object with "name", for --json */
	struct err err;	      /* the steps after an error are left out */
};

struct vm_set {
	struct vm_ref *vms;
	unsigned n;
};

/* By name. -ENOENT and the like with a message. */
int vm_ref_open(const char *name, struct vm_ref *ret, struct err *err) must_check;
void vm_ref_done(struct vm_ref *vm);

/* The words, or with --all those that live, or with --dead those that do not. A name that is not
 * there is a VM with an error. */
int vm_set_open(const struct cli_options *options, struct vm_set *ret, struct err *err) must_check;
void vm_set_each(const struct cli_options *options, struct vm_set *set,
		 void (*step)(const struct cli_options *options, struct vm_ref *vm));
/* Prints the errors, and with --json the answers; frees. Returns the exit status, 0 or 125. */
int vm_set_finish(const struct cli_options *options, struct vm_set *set);

/* The first word's VM. On failure the message is printed. */
int vm_set_only(const struct cli_options *options, struct vm_ref *ret) must_check;
/* The same, and a dead one is a failure, too. */
int vm_set_only_alive(const struct cli_options *options, struct vm_ref *ret) must_check;

bool vm_ref_is_alive(const struct vm_ref *vm);
/* result.json, parsed, or NULL: a VM that still runs or was killed says "lost". */
json_t *vm_ref_result(const struct vm_ref *vm) must_check;
/* "exit (42)", "lost"; of a result, which may be NULL ("none"). Returns buf. */
char *vm_result_text(const json_t *result, char *buf, size_t len);
/* -ESRCH with a message about its end, when it is dead. */
int vm_ref_need_alive(const struct vm_ref *vm, struct err *err) must_check;
/* A request whose errors name the VM. body may be NULL. */
int vm_ref_ask(const struct vm_ref *vm, const char *method, const char *target, const char *body,
	       json_t **ret, struct err *err) must_check;
/* SIGKILL to its process, if that is sure to be the one that holds the VM. */
int vm_ref_sigkill(const struct vm_ref *vm, struct err *err) must_check;

/* "vmm: error: vmm COMMAND: ...", and 125. */
int vm_tell_error(const struct cli_options *options, const char *text);
/* Indented; frees it. The exit status: 0, or 125 with a message when it can't be written. */
int vm_print_json(const struct cli_options *options, json_t *json);
/* Prints and frees it; the exit status as above. */
int vm_print_table(const struct cli_options *options, struct table *table);
/* What was printed has reached its reader; else 125 with a message. */
int vm_finish_output(const struct cli_options *options, int status);

#endif
