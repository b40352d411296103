/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct vm_config: one VM as plain, validated data. Command line, JSON file and --set all meet
 * here, and everything past this room takes it as const.
 *
 * schema.c holds ONE table. From it come the flags, the JSON keys, --help, `vmm config schema`, the
 * option list of the man page and the shell completion, so they can't differ. Runs on main only.
 */
#ifndef VMM_CONFIG_CONFIG_H
#define VMM_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"

enum config_protocol { CONFIG_PROTOCOL_AUTO, CONFIG_PROTOCOL_LINUX64, CONFIG_PROTOCOL_PVH };
enum config_shared { CONFIG_SHARED_AUTO, CONFIG_SHARED_ON, CONFIG_SHARED_OFF };
enum config_on_reboot { CONFIG_REBOOT_EXIT, CONFIG_REBOOT_RESTART };
enum config_on_panic { CONFIG_PANIC_EXIT, CONFIG_PANIC_WAIT };
enum config_control { CONFIG_CONTROL_AUTO, CONFIG_CONTROL_ON, CONFIG_CONTROL_OFF };
enum config_sandbox { CONFIG_SANDBOX_STRICT, CONFIG_SANDBOX_LOG, CONFIG_SANDBOX_OFF };

enum { CONFIG_MAX_CPUS = 254 };

/* Strings are owned, NULL when not given (and then left out of the JSON). Enums are stored as int.
 */
struct vm_config {
	char *name; /* NULL: not given; the run chooses one */
	struct {
		char *path;
		char *initrd;
		char *append;  /* what the user adds; see config_cmdline() */
		bool defaults; /* put vmm's own words before it */
		int protocol;  /* enum config_protocol */
	} kernel;
	struct {
		uint64_t size; /* bytes, a multiple of 4 KiB, at least 32 MiB; default 256 MiB */
		uint64_t hugepages; /* bytes of a page: 0 (off), 2 MiB or 1 GiB */
		int shared;	    /* enum config_shared */
		bool thp;	    /* transparent huge pages for private memory */
		bool prefault;
	} memory;
	struct {
		uint32_t boot;			  /* 1..CONFIG_MAX_CPUS */
		uint32_t sockets, cores, threads; /* 0: not given; use config_topology() */
	} cpus;
	char *console; /* chr spec: stdio (default), pty, file=PATH, unix=PATH, none */
	char *serial;  /* "console" (default): ttyS0 carries the console; else a chr spec of its own
			*/
	char *debugcon;		  /* chr spec of the debug port 0xe9; default none */
	int on_reboot;		  /* enum config_on_reboot */
	int on_panic;		  /* enum config_on_panic */
	uint64_t timeout_ns;	  /* 0: none */
	uint64_t stop_timeout_ns; /* default 10 s */
	char *result;		  /* path */
	struct {
		char *path; /* NULL: stderr */
		int level;  /* enum log_level, default warn; -q: error */
	} log;
	int sandbox;   /* enum config_sandbox */
	int control;   /* enum config_control: the state directory and its sockets */
	char *events;  /* path, or "fd:N" */
	char *pidfile; /* path */
};

void vm_config_init(struct vm_config *config); /* defaults */
void vm_config_done(struct vm_config *config);

/* What the command line of `vmm run` asks for besides the VM itself. */
struct run_request {
	bool print_config, dry_run, help;
	bool detach; /* in the background, once the guest runs */
	bool remove; /* --rm: the state directory goes at the end of a detached VM, too */
};

/*
 * Parses the arguments after `vmm run`, reads --config FILE first wherever it stands, then applies
 * flags and
 * --set in their order, and validates the whole. 0, or -EINVAL and the like with a message that
 * names the option, or FILE:LINE:COLUMN or FILE and the JSON pointer, what was wrong, the nearest
 * right name, and the remedy. On failure config holds what was understood (so that --result can
 * still be honoured); the caller calls vm_config_done() in both cases.
 */
int config_parse_run(int argc, char *const argv[], struct vm_config *config,
		     struct run_request *ret, struct err *err) must_check;

/* Applies a JSON file ("-" is stdin) over config without cross-field validation. */
int config_load_file(struct vm_config *config, const char *path, struct err *err) must_check;

/* Cross-field checks: kernel given, topology product, memory against hugepages, console against
 * serial. */
int config_validate(const struct vm_config *config, struct err *err) must_check;

/*
 * The effective JSON, pretty-printed, ending in a newline; fed back by --config it gives the same
 * config. kernel.cmdline, which nobody can set, shows config_cmdline().
 */
int config_print(const struct vm_config *config, FILE *out) must_check;
/* The same as one malloc()ed compact line. */
char *config_to_json(const struct vm_config *config) must_check;

/*
 * The processors as the guest shall see them, for a configuration that config_validate() passed:
 * the product is cpus.boot. What is not given is 1 thread, 1 socket and as many cores as that
 * leaves.
 */
struct config_topology {
	uint32_t sockets, cores, threads;
};
struct config_topology config_topology(const struct vm_config *config);

/*
 * The command line that the guest gets, malloc()ed: the default words unless kernel.defaults is off
 * ("console=ttyS0 panic=-1"; the console only when the serial port goes somewhere, panic=-1 not
 * with on_panic=wait, which would be over at once), then append; words that append sets itself are
 * not added twice, and what follows "--" in append stays last and in order.
 */
char *config_cmdline(const struct vm_config *config) must_check;

/* Output of the one table. */
void config_print_help(FILE *out);	  /* option list of `vmm run --help` */
int config_print_schema(FILE *out);	  /* JSON Schema, draft 2020-12 */
void config_print_man_options(FILE *out); /* roff .TP list for vmm(1) */

/* A command of vmm that has no options in the table: its flags, separated by blanks, and whether it
 * takes names of VMs. */
struct config_command {
	const char *name, *flags;
	bool names;
};
/* For bash; commands are those besides run, config, selftest, doctor and version. */
void config_print_completion(const struct config_command *commands, size_t n, FILE *out);

#endif
