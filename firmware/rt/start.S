/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the PVH entry (32-bit protected mode, paging off, ebx = start info; xen docs/misc/pvh.pandoc) to
 * guest_main() in long mode, in as few instructions as can be: on a software KVM each one costs 0.6 us. So the
 * page tables are data, not code.
 */
#include "abi.h"

#define CR0_PE	   0x00000001
#define CR0_PG	   0x80000000
#define CR0_NE	   0x00000020
#define CR0_ET	   0x00000010
#define CR4_PAE	   0x00000020
#define MSR_EFER   0xc0000080
#define EFER_LME   0x00000100

#define PTE_TABLE  0x23 /* accessed, writable, present */
#define PTE_LARGE  0xe3 /* the same, a 2 MiB page, dirty: spares the processor the updates */

	.section .note.pvh, "a", @note
	.balign	4
	.long	4			/* size of the name */
	.long	8			/* size of the descriptor */
	.long	18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	pvh_start

	.section .text.start, "ax"
	.code32
	.globl	pvh_start
pvh_start:
	cld
	movl	%ebx, %edi		/* first argument of guest_main() */
	movl	$stack_top, %esp
	lgdtl	gdt_pointer
	xorl	%ebp, %ebp		/* 0: the boot processor */

/* Application processors come here in protected mode, ebp = their number. */
	.globl	enter_long_mode
enter_long_mode:
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	movl	$EFER_LME, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$(CR0_PG | CR0_NE | CR0_ET | CR0_PE), %eax
	movl	%eax, %cr0
	ljmpl	$0x10, $start64

	.code64
start64:
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	testl	%ebp, %ebp
	jnz	start_ap
	call	guest_main
	outb	%al, $VMM_EXIT_PORT
1:	cli
	hlt				/* whoever runs us knows no exit port */
	jmp	1b

start_ap:
	movl	%ebp, %edi
	movabsq	$ap_main, %rax		/* by value: a guest of one processor links none, and 0 is never called */
	call	*%rax
	jmp	1b
	.weak	ap_main

/* The page tables: the low 4 GiB one to one in 2 MiB pages, then a gigabyte of windows for paging.c. */
	.section .data.tables, "aw"
	.balign	4096
	.globl	pml4, window_pd
pml4:	.quad	pdpt + PTE_TABLE
	.fill	511, 8, 0
pdpt:	.quad	pd + PTE_TABLE
	.quad	pd + 0x1000 + PTE_TABLE
	.quad	pd + 0x2000 + PTE_TABLE
	.quad	pd + 0x3000 + PTE_TABLE
	.quad	window_pd + PTE_TABLE
	.fill	507, 8, 0
pd:
	.set	page, PTE_LARGE
	.rept	2048
	.quad	page
	.set	page, page + 0x200000
	.endr

	.globl	gdt
	.balign	8
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x08: 32-bit code, flat */
	.quad	0x00af9b000000ffff	/* 0x10: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x18: data, flat */
	.quad	0x00cff3000000ffff	/* 0x20: data at CPL 3 */
	.quad	0x00affb000000ffff	/* 0x28: 64-bit code at CPL 3 */
	.quad	0, 0			/* 0x30: room for a TSS */
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt
	.long	0

	.bss
	.balign	4096
window_pd:
	.skip	4096
	.skip	16384
stack_top:

	.section .note.GNU-stack, "", @progbits
