/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm-exit N: ends the VM with exit code N, from user space of a Linux guest. Static, without a
 * libc, about 1 KiB, so that it fits into any initramfs. It uses ioperm() and outb, since Debian's
 * kernel has no /dev/port. Output still queued in a terminal and dirty file data go out first.
 *
 * Exit status, should it come back at all: 1 no permission (needs CAP_SYS_RAWIO and no kernel
 * lockdown), 2 wrong use, 3 the port had no effect, so this is no VM of vmm's.
 */
#include "abi.h"

#include <stddef.h>

enum {
	SYS_WRITE = 1,
	SYS_IOCTL = 16,
	SYS_SYNC = 162,
	SYS_IOPERM = 173,
	SYS_EXIT_GROUP = 231,
	STDERR = 2,
	TCSBRK = 0x5409, /* with an argument other than 0 it is tcdrain(3) */
};

/* Called by _start with the initial stack: argc, argv[0], ... */
_Noreturn void vmm_exit_main(char *const *stack);

__asm__(".globl _start\n"
	"_start:\n"
	"	movq %rsp, %rdi\n"
	"	andq $-16, %rsp\n"
	"	call vmm_exit_main\n");

static long syscall3(long number, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

static _Noreturn void leave(long status)
{
	for (;;)
		syscall3(SYS_EXIT_GROUP, status, 0, 0);
}

static _Noreturn void fail(long status, const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	syscall3(SYS_WRITE, STDERR, (long)text, (long)n);
	leave(status);
}

/* 0 to 255, or -1. */
static int parse(const char *text)
{
	int n = 0;

	if (!*text)
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		n = n * 10 + (*text - '0');
		if (n > 255)
			return -1;
	}
	return n;
}

/* The port ends the VM on the spot: what was written to terminals and files has to get out first.
 */
static void drain(void)
{
	for (long fd = 0; fd <= STDERR; fd++)
		syscall3(SYS_IOCTL, fd, TCSBRK, 1);
	syscall3(SYS_SYNC, 0, 0, 0);
}

void vmm_exit_main(char *const *stack)
{
	int code = (long)stack[0] == 2 ? parse(stack[2]) : -1;

	if (code < 0)
		fail(2, "usage: vmm-exit N  (0 to 255: the exit code of the VM)\n");
	if (syscall3(SYS_IOPERM, VMM_EXIT_PORT, 1, 1) < 0)
		fail(1, "vmm-exit: no permission to use I/O ports (be root; no kernel lockdown)\n");
	drain();
	__asm__ volatile("outb %b0, %w1" : : "a"(code), "Nd"(VMM_EXIT_PORT) : "memory");
	fail(3, "vmm-exit: no exit port here: is this a VM of vmm's?\n");
}
