/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/vcpus.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/altstack.h"
#include "base/checked.h"
#include "base/clock.h"

/* Enough for the deepest exit path; only what is touched costs memory. Sanitizers need more. */
#define STACK_BYTES (BUILT_WITH_ASAN ? MIB(8) : KIB(256))

int vcpus_init(struct vcpus *set, struct kvm_vm *vm, const struct cpu_topology *topology,
	       unsigned n, struct err *err)
{
	(void)pthread_mutex_init(&set->lock, NULL);
	(void)pthread_cond_init(&set->changed, NULL);
	set->want = VCPUS_PARK;
	set->threads = calloc(n, sizeof(*set->threads));
	if (!set->threads)
		return err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < n; i++) {
		struct vcpu_thread *t = &set->threads[i];
		int r = kvm_vcpu_new(vm, topology, i, &t->vcpu, err);

		if (r < 0)
			return r;
		t->set = set;
		t->index = i;
		set->n++;
	}
	return 0;
}

void vcpus_done(struct vcpus *set)
{
	if (!set->threads)
		return;
	for (unsigned i = 0; i < set->n; i++)
		(void)kvm_vcpu_free(set->threads[i].vcpu);
	free(set->threads);
	set->threads = NULL;
	(void)pthread_cond_destroy(&set->changed);
	(void)pthread_mutex_destroy(&set->lock);
}

/* With the lock held; false when the thread is to end. */
static bool wait_for_run(struct vcpus *set)
{
	while (set->want == VCPUS_PARK)
		(void)pthread_cond_wait(&set->changed, &set->lock);
	return set->want == VCPUS_RUN;
}

static enum kvm_stop run_once(struct vcpu_thread *t)
{
	struct vcpus *set = t->set;
	enum kvm_stop why;

	if (set->first_run_ns == 0)
		set->first_run_ns = clock_now_ns();
	set->running++;
	(void)pthread_mutex_unlock(&set->lock);
	why = kvm_vcpu_run(t->vcpu, set->ports, set->memory);
	if (why != KVM_STOP_KICKED)
		set->stopped(set, t->index, why);
	(void)pthread_mutex_lock(&set->lock);
	if (why != KVM_STOP_KICKED && set->want == VCPUS_RUN)
		set->want = VCPUS_PARK;
	set->running--;
	(void)pthread_cond_broadcast(&set->changed);
	return why;
}

static void *thread_main(void *arg)
{
	struct vcpu_thread *t = arg;
	struct vcpus *set = t->set;
	struct err err = {0};
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "vcpu/%u", t->index);
	(void)prctl(PR_SET_NAME, name);
	altstack_use();
	kvm_vcpu_bind_thread(t->vcpu);
	r = set->enter(set, &err);
	(void)pthread_mutex_lock(&set->lock);
	if (r < 0)
		(void)err_set(&set->enter_err, r, "%s", err.msg);
	set->entered++;
	(void)pthread_cond_broadcast(&set->changed);
	while (wait_for_run(set))
		(void)run_once(t);
	(void)pthread_mutex_unlock(&set->lock);
	kvm_vcpu_unbind_thread(t->vcpu);
	return NULL;
}

int vcpus_start(struct vcpus *set, struct err *err)
{
	pthread_attr_t attr;
	int r = 0;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, MAX(STACK_BYTES, (uint64_t)PTHREAD_STACK_MIN));
	for (unsigned i = 0; i < set->n && r == 0; i++) {
		struct vcpu_thread *t = &set->threads[i];

		r = pthread_create(&t->thread, &attr, thread_main, t);
		if (r == 0)
			set->n_threads++;
	}
	(void)pthread_attr_destroy(&attr);
	if (r)
		return err_set(err, -r, "can't make %u vCPU threads: %s", set->n, strerror(r));
	(void)pthread_mutex_lock(&set->lock);
	while (set->entered < set->n)
		(void)pthread_cond_wait(&set->changed, &set->lock);
	if (set->enter_err.code)
		r = err_set(err, set->enter_err.code, "%s", set->enter_err.msg);
	(void)pthread_mutex_unlock(&set->lock);
	return r;
}

static void set_want(struct vcpus *set, enum vcpus_want want)
{
	(void)pthread_mutex_lock(&set->lock);
	set->want = want;
	(void)pthread_cond_broadcast(&set->changed);
	(void)pthread_mutex_unlock(&set->lock);
}

static void kick_all(struct vcpus *set)
{
	for (unsigned i = 0; i < set->n_threads; i++)
		kvm_vcpu_kick(set->threads[i].vcpu);
}

void vcpus_resume(struct vcpus *set)
{
	set_want(set, VCPUS_RUN);
}

void vcpus_pause(struct vcpus *set)
{
	set_want(set, VCPUS_PARK);
	kick_all(set);
	(void)pthread_mutex_lock(&set->lock);
	while (set->running > 0)
		(void)pthread_cond_wait(&set->changed, &set->lock);
	(void)pthread_mutex_unlock(&set->lock);
}

void vcpus_stop(struct vcpus *set)
{
	if (!set->threads)
		return;
	set_want(set, VCPUS_QUIT);
	kick_all(set);
	for (unsigned i = 0; i < set->n_threads; i++)
		(void)pthread_join(set->threads[i].thread, NULL);
	set->n_threads = 0;
}

uint64_t vcpus_first_run_ns(struct vcpus *set)
{
	uint64_t ns;

	(void)pthread_mutex_lock(&set->lock);
	ns = set->first_run_ns;
	(void)pthread_mutex_unlock(&set->lock);
	return ns;
}

void vcpus_hold(struct vcpus *set)
{
	(void)pthread_mutex_lock(&set->lock);
	if (set->want == VCPUS_RUN)
		set->want = VCPUS_PARK;
	(void)pthread_mutex_unlock(&set->lock);
	kick_all(set);
}
