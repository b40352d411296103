/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPU threads: one each, made parked, run and paused together.
 *
 * All functions are for main except vcpus_hold(), which is for a vCPU's own thread. A parked thread
 * is outside KVM_RUN with its last access complete, so that its state may be read and written.
 */
#ifndef VMM_MACHINE_VCPUS_H
#define VMM_MACHINE_VCPUS_H

#include <pthread.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/mutex.h"
#include "bus/io_bus.h"
#include "kvm/vcpu.h"

enum vcpus_want { VCPUS_PARK, VCPUS_RUN, VCPUS_QUIT };

struct vcpus;

struct vcpu_thread {
	struct vcpus *set;
	struct kvm_vcpu *vcpu;
	pthread_t thread;
	unsigned index;
};

struct vcpus {
	/* Each thread's first act; 0 or -errno with a message. */
	int (*enter)(struct vcpus *set, struct err *err);
	/* A vCPU came to a stop by itself; all park until main says otherwise. On its thread, no
	 * lock held. */
	void (*stopped)(struct vcpus *set, unsigned index, enum kvm_stop why);
	const struct io_bus *ports, *memory;

	unsigned n, n_threads;
	struct vcpu_thread *threads;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum vcpus_want want; /* under lock, as is the rest */
	unsigned running;     /* threads that may be in the guest */
	unsigned entered;     /* threads that have done `enter` */
	struct err enter_err;
	uint64_t first_run_ns;
};

/* The caller has filled enter, stopped, ports and memory. vCPUs are owned from now on. */
int vcpus_init(struct vcpus *set, struct kvm_vm *vm, const struct cpu_topology *topology,
	       unsigned n, struct err *err) must_check;
void vcpus_done(struct vcpus *set);

/* Makes the threads and waits until each has entered its role and parked. */
int vcpus_start(struct vcpus *set, struct err *err) must_check;
void vcpus_resume(struct vcpus *set);
/* Returns when every thread is parked. */
void vcpus_pause(struct vcpus *set);
/* Ends and joins the threads. */
void vcpus_stop(struct vcpus *set);
/* When the first vCPU entered the guest, CLOCK_MONOTONIC; 0: none has. */
uint64_t vcpus_first_run_ns(struct vcpus *set);

/* On a vCPU's thread, from a device: it, and with it all, park as soon as the access is complete.
 */
void vcpus_hold(struct vcpus *set);

#endif
