/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an application processor starts after the start-up IPI: real mode, cs:ip = page:0. smp.c copies these
 * bytes to a free page below 1 MiB, so they use nothing but addresses relative to cs and absolute jumps out.
 */
	.section .rodata.trampoline, "a"
	.code16
	.globl	trampoline, trampoline_end
trampoline:
	cli
	lgdtl	%cs:(ap_gdt_pointer - trampoline)
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x08, $ap_start32
	.balign	8
ap_gdt_pointer:
	.word	4 * 8 - 1
	.long	gdt
trampoline_end:

	.text
	.code32
ap_start32:
	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$1, %ebp
	lock xaddl %ebp, ap_next	/* a number of its own: 1, 2, ... */
	movl	%ebp, %eax
	shll	$12, %eax		/* SMP_STACK_SIZE */
	leal	ap_stacks(%eax), %esp	/* number n owns the stack that ends there */
	jmp	enter_long_mode

	.data
	.balign	4
ap_next:
	.long	1

	.section .note.GNU-stack, "", @progbits
