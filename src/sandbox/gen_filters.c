/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs when vmm is built: turns the role tables into BPF programs, by libseccomp, and prints them
 * as C on stdout. -DVMM_SANITIZED adds what a sanitizer's runtime needs.
 *
 * The kernel (5.11 and later) remembers which calls a filter allows whatever their arguments are
 * and doesn't run the program for them, so write() and futex() cost nothing. ioctl() is evaluated
 * each time, and libseccomp decides in an order of its own where KVM_RUN comes: a vCPU's program
 * gets a few instructions of ours in front.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sandbox/filters.h"
#include "sandbox/roles/broker.h"
#include "sandbox/roles/common.h"
#include "sandbox/roles/deadly.h"
#include "sandbox/roles/io.h"
#include "sandbox/roles/main.h"
#include "sandbox/roles/sanitizer.h"
#include "sandbox/roles/vcpu.h"
#include "sandbox/roles/worker.h"

#ifdef VMM_SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

struct table {
	const struct rule *rules;
	size_t n;
};
#define TABLE(rules)                                                                               \
	{                                                                                          \
		rules, ARRAY_SIZE(rules)                                                           \
	}

static const struct role {
	const char *name;
	struct table tables[2];
} roles[SANDBOX_ROLES] = {
	[SANDBOX_MAIN] = {"main", {TABLE(main_rules), TABLE(common_rules)}},
	[SANDBOX_VCPU] = {"vcpu", {TABLE(vcpu_rules), TABLE(common_rules)}},
	[SANDBOX_WORKER] = {"worker", {TABLE(worker_rules), TABLE(common_rules)}},
	[SANDBOX_IO] = {"io", {TABLE(io_rules), TABLE(common_rules)}},
};

static const char *const mode_names[SANDBOX_OFF] = {"strict", "log"};

static const uint32_t mode_default[SANDBOX_OFF] = {
	[SANDBOX_STRICT] = SCMP_ACT_TRAP,
	[SANDBOX_LOG] = SCMP_ACT_LOG,
};

static const uint32_t mode_bad_arch[SANDBOX_OFF] = {
	[SANDBOX_STRICT] = SCMP_ACT_KILL_PROCESS,
	[SANDBOX_LOG] = SCMP_ACT_LOG,
};

static int add_table(scmp_filter_ctx ctx, const struct table *table)
{
	int err = 0;

	for (size_t i = 0; i < table->n && !err; i++) {
		const struct rule *r = &table->rules[i];

		err = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, r->call, r->conds,
						   &r->cond);
		if (err == -EEXIST) /* the sanitizer's table repeats calls */
			err = 0;
	}
	return err;
}

static bool allowed(const struct table *table, int call)
{
	for (size_t i = 0; i < table->n; i++) {
		if (table->rules[i].call == call)
			return true;
	}
	return false;
}

static int add_deadly(scmp_filter_ctx ctx)
{
	static const struct table sanitizer = TABLE(sanitizer_rules);
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(deadly_calls) && !err; i++) {
		if (SANITIZED && allowed(&sanitizer, deadly_calls[i]))
			continue;
		err = seccomp_rule_add_exact(ctx, SCMP_ACT_KILL_PROCESS, deadly_calls[i], 0);
	}
	return err;
}

/* The symbolizer would be another program: the runtime does without when it can't fork. */
static int add_sanitizer(scmp_filter_ctx ctx, enum sandbox_mode mode)
{
	static const struct table sanitizer = TABLE(sanitizer_rules);
	int err = add_table(ctx, &sanitizer);

	if (!err && mode == SANDBOX_STRICT)
		err = seccomp_rule_add_exact(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fork), 0);
	return err;
}

static int fill(scmp_filter_ctx ctx, const struct role *role, enum sandbox_mode mode)
{
	int err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, mode_bad_arch[mode]);

	for (size_t i = 0; i < ARRAY_SIZE(role->tables) && !err; i++)
		err = add_table(ctx, &role->tables[i]);
	if (!err && SANITIZED)
		err = add_sanitizer(ctx, mode);
	/* log lets everything through. */
	if (!err && mode == SANDBOX_STRICT)
		err = add_deadly(ctx);
	return err;
}

/* Decides ioctl(fd, KVM_RUN) and falls through to the program behind it for everything else. */
static const struct sock_filter kvm_run_first[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 3),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void print_insns(const struct sock_filter *insns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("\t{0x%02x, %u, %u, 0x%08x},\n", insns[i].code, insns[i].jt, insns[i].jf,
		       insns[i].k);
}

static void print_program(const struct role *role, const char *mode,
			  const struct sock_filter *insns, size_t n)
{
	printf("static const struct sock_filter %s_%s[] = {\n", role->name, mode);
	if (role == &roles[SANDBOX_VCPU])
		print_insns(kvm_run_first, ARRAY_SIZE(kvm_run_first));
	print_insns(insns, n);
	printf("};\n\n");
}

/* libseccomp writes a program to an fd only. */
static int export_program(scmp_filter_ctx ctx, const struct role *role, const char *mode)
{
	static struct sock_filter insns[BPF_MAXINSNS];
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t len = -1;

	if (fd < 0)
		return -1;
	if (seccomp_export_bpf(ctx, fd) == 0)
		len = pread(fd, insns, sizeof(insns), 0);
	(void)close(fd);
	if (len <= 0)
		return -1;
	print_program(role, mode, insns, (size_t)len / sizeof(insns[0]));
	return 0;
}

/* Not a role: all is allowed but a few calls. The helpers that the broker executes have it, too. */
static int generate_broker(void)
{
	static const struct role broker = {.name = "broker"};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int err = ctx ? 0 : -1;

	for (size_t i = 0; i < ARRAY_SIZE(refused_calls) && !err; i++)
		err = seccomp_rule_add_exact(ctx, SCMP_ACT_ERRNO(EPERM), refused_calls[i], 0);
	if (!err)
		err = export_program(ctx, &broker, mode_names[SANDBOX_STRICT]);
	if (ctx)
		seccomp_release(ctx);
	if (err)
		(void)fprintf(stderr, "gen_filters: broker: %s\n", strerror(-err));
	else
		printf("const struct sandbox_program sandbox_broker_program = {\n"
		       "\tbroker_strict, sizeof(broker_strict) / sizeof(struct sock_filter)};\n\n");
	return err;
}

static int generate(const struct role *role, enum sandbox_mode mode)
{
	scmp_filter_ctx ctx = seccomp_init(mode_default[mode]);
	int err = ctx ? fill(ctx, role, mode) : -1;

	if (!err)
		err = export_program(ctx, role, mode_names[mode]);
	if (ctx)
		seccomp_release(ctx);
	if (err)
		(void)fprintf(stderr, "gen_filters: %s, %s: %s\n", role->name, mode_names[mode],
			      strerror(-err));
	return err;
}

static void print_index(void)
{
	printf("const struct sandbox_program sandbox_programs[SANDBOX_ROLES][SANDBOX_OFF] = {\n");
	for (size_t r = 0; r < SANDBOX_ROLES; r++) {
		printf("\t{");
		for (size_t m = 0; m < SANDBOX_OFF; m++)
			printf("{%s_%s, sizeof(%s_%s) / sizeof(struct sock_filter)}, ",
			       roles[r].name, mode_names[m], roles[r].name, mode_names[m]);
		printf("},\n");
	}
	printf("};\n\n");
}

static void print_names(void)
{
	enum { NUMBERS = 512 };
	int last = 0;

	printf("const char sandbox_call_names[] =\n");
	for (int nr = 0; nr < NUMBERS; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

		printf("\t\"%s\\0\"\n", name ? name : "");
		if (name)
			last = nr;
		free(name);
	}
	printf("\t;\nconst unsigned sandbox_call_count = %d;\n", last + 1);
}

int main(void)
{
	printf("/* Written by gen_filters from the tables in src/sandbox/roles/. */\n"
	       "#include \"sandbox/filters.h\"\n\n");
	for (size_t r = 0; r < SANDBOX_ROLES; r++) {
		for (int m = 0; m < SANDBOX_OFF; m++) {
			if (generate(&roles[r], (enum sandbox_mode)m))
				return 1;
		}
	}
	if (generate_broker())
		return 1;
	print_index();
	print_names();
	return fflush(stdout) == 0 ? 0 : 1;
}
