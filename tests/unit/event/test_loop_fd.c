/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

static struct loop *loop;

static void set_up(void)
{
	loop = engine_loop(0, 0);
}

static void tear_down(void)
{
	loop = loop_free(loop);
}

TestSuite(loop_fd, .init = set_up, .fini = tear_down, .timeout = 30);

static void run(void)
{
	cr_assert_eq(loop_run(loop), 0);
}

static void never_called(struct loop_fd *source, uint32_t events)
{
	(void)source;
	cr_assert_fail("%#x", events);
}

static void stop_on_timer(struct loop_timer *timer)
{
	(void)timer;
	loop_stop(loop);
}

struct peer {
	struct loop_fd source;
	struct peer *other;
	struct peer *reborn; /* takes the other's memory */
	int calls;
};

static void reborn_ready(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	cr_assert_fail("an event of the removed fd reached the new one");
}

/* Whichever of two ready sources comes first removes the other. */
static void remove_other(struct loop_fd *source, uint32_t events)
{
	struct peer *self = container_of(source, struct peer, source);

	(void)events;
	self->calls++;
	loop_del_fd(loop, &self->other->source);
	close(self->other->source.fd);
	if (self->reborn) {
		/* The memory lives on as another source that is not ready. */
		self->other->source = (struct loop_fd){.fd = eventfd_new(), .ready = reborn_ready};
		cr_assert_eq(loop_add_fd(loop, &self->other->source, EPOLLIN), 0);
	}
	loop_stop(loop);
}

static void two_ready_peers(struct peer *a, struct peer *b)
{
	a->other = b;
	b->other = a;
	for (struct peer *p = a; p; p = p == a ? b : NULL) {
		p->source = (struct loop_fd){.fd = eventfd_new(), .ready = remove_other};
		cr_assert_eq(loop_add_fd(loop, &p->source, EPOLLIN), 0);
		eventfd_kick(p->source.fd);
	}
}

Test(loop_fd, fd_removed_while_its_event_is_fetched_is_not_called)
{
	struct peer a = {0}, b = {0};

	two_ready_peers(&a, &b);
	run();
	cr_assert_eq(a.calls + b.calls, 1);
}

Test(loop_fd, source_at_the_address_of_a_removed_one_gets_no_stale_event)
{
	struct peer a = {.reborn = &a}, b = {.reborn = &b};

	two_ready_peers(&a, &b);
	run();
	cr_assert_eq(a.calls + b.calls, 1);
}

static void free_self(struct loop_fd *source, uint32_t events)
{
	(void)events;
	loop_del_fd(loop, source);
	close(source->fd);
	free(source);
	loop_stop(loop);
}

Test(loop_fd, handler_may_remove_and_free_its_own_source)
{
	struct loop_fd *source = malloc(sizeof(*source));

	cr_assert_not_null(source);
	*source = (struct loop_fd){.fd = eventfd_new(), .ready = free_self};
	cr_assert_eq(loop_add_fd(loop, source, EPOLLIN), 0);
	eventfd_kick(source->fd);
	run();
}

static uint32_t seen_events;

static void note_events(struct loop_fd *source, uint32_t events)
{
	seen_events |= events;
	loop_del_fd(loop, source);
	loop_stop(loop);
}

Test(loop_fd, changed_mask_decides_what_is_reported)
{
	struct loop_timer end = {.fired = stop_on_timer};
	struct loop_fd source = {.ready = note_events};
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	source.fd = fds[1];
	cr_assert_eq(loop_add_fd(loop, &source, 0), 0);
	cr_assert(source.added);
	loop_timer_arm(loop, &end, 5 * NS_PER_MS);
	run();
	cr_assert_eq(seen_events, 0);
	cr_assert_eq(loop_mod_fd(loop, &source, EPOLLOUT), 0);
	run();
	cr_assert_eq(seen_events, EPOLLOUT);
	cr_assert_not(source.added);
	close(fds[0]);
	close(fds[1]);
}

Test(loop_fd, regular_file_is_refused)
{
	struct loop_fd source = {.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
				 .ready = note_events};

	cr_assert_geq(source.fd, 0);
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN), -EPERM);
	cr_assert_not(source.added);
	loop_del_fd(loop, &source);
	close(source.fd);
}

/* ---- both kinds of triggering ---- */

struct counted_fd {
	struct loop_fd source;
	int calls, stop_at;
};

static void count_ready(struct loop_fd *source, uint32_t events)
{
	struct counted_fd *c = container_of(source, struct counted_fd, source);

	cr_assert(events & EPOLLIN);
	if (++c->calls == c->stop_at)
		loop_stop(loop);
}

static struct counted_fd counted_eventfd(int stop_at)
{
	return (struct counted_fd){.source = {.fd = eventfd_new(), .ready = count_ready},
				   .stop_at = stop_at};
}

static void remove_and_close(struct loop_fd *source)
{
	loop_del_fd(loop, source);
	close(source->fd);
}

Test(loop_fd, level_triggered_source_is_called_until_it_is_read)
{
	struct counted_fd c = counted_eventfd(5);

	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN), 0);
	eventfd_kick(c.source.fd);
	run();
	cr_assert_eq(c.calls, 5);
	remove_and_close(&c.source);
}

enum { KICKS = 2000 };
static sem_t kick_seen;

static void see_kick(struct loop_fd *source, uint32_t events)
{
	count_ready(source, events);
	(void)sem_post(&kick_seen);
}

/* One by one, so that each is a wake-up of its own. */
static void *kicker(void *arg)
{
	struct counted_fd *c = arg;

	for (int i = 0; i < KICKS; i++) {
		eventfd_kick(c->source.fd);
		(void)sem_wait(&kick_seen);
	}
	return NULL;
}

Test(loop_fd, every_kick_of_an_edge_triggered_eventfd_is_seen_and_nobody_reads_it)
{
	struct counted_fd c = counted_eventfd(KICKS);
	pthread_t thread;
	eventfd_t count;
	uint64_t turns;

	c.source.ready = see_kick;
	(void)sem_init(&kick_seen, 0, 0);
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN | EPOLLET), 0);
	turns = engine_turns(loop);
	cr_assert_eq(pthread_create(&thread, NULL, kicker, &c), 0);
	run();
	pthread_join(thread, NULL);
	cr_assert_eq(eventfd_read(c.source.fd, &count), 0);
	cr_assert_eq(count, KICKS);
	/* And stop's own. */
	cr_assert_leq(engine_turns(loop) - turns, KICKS + 1, "one turn for each");
	remove_and_close(&c.source);
}

static void *kick_storm(void *arg)
{
	const struct counted_fd *c = arg;

	for (int i = 0; i < 50 * KICKS; i++)
		eventfd_kick(c->source.fd);
	return NULL;
}

static atomic_bool storm_over;
static bool seen_after_storm;

static void see_storm(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	if (!atomic_load(&storm_over))
		return;
	seen_after_storm = true;
	loop_stop(loop);
}

static void *storm_and_last_kick(void *arg)
{
	const struct counted_fd *c = arg;

	(void)kick_storm(arg);
	atomic_store(&storm_over, true);
	eventfd_kick(c->source.fd);
	return NULL;
}

Test(loop_fd, last_kick_of_a_storm_is_seen)
{
	struct counted_fd c = counted_eventfd(0);
	pthread_t storm, last;

	c.source.ready = see_storm;
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN | EPOLLET), 0);
	cr_assert_eq(pthread_create(&storm, NULL, kick_storm, &c), 0);
	cr_assert_eq(pthread_create(&last, NULL, storm_and_last_kick, &c), 0);
	run();
	pthread_join(storm, NULL);
	pthread_join(last, NULL);
	cr_assert(seen_after_storm);
	remove_and_close(&c.source);
}

static void kick_self(struct loop_fd *source, uint32_t events)
{
	const struct counted_fd *c = container_of(source, struct counted_fd, source);

	count_ready(source, events);
	if (c->calls < c->stop_at)
		eventfd_kick(source->fd);
}

Test(loop_fd, kick_before_adding_and_kick_inside_the_handler_are_seen)
{
	struct counted_fd c = counted_eventfd(50);

	c.source.ready = kick_self;
	eventfd_kick(c.source.fd);
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN | EPOLLET), 0);
	run();
	cr_assert_eq(c.calls, 50);
	remove_and_close(&c.source);
}

/* ---- changing and removing ---- */

static void pause_self(struct loop_fd *source, uint32_t events)
{
	count_ready(source, events);
	cr_assert_eq(loop_mod_fd(loop, source, 0), 0);
}

Test(loop_fd, paused_source_is_not_called_and_resumed_one_is)
{
	struct counted_fd c = counted_eventfd(0);
	struct loop_timer end = {.fired = stop_on_timer};

	c.source.ready = pause_self;
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN), 0);
	eventfd_kick(c.source.fd);
	for (int i = 1; i <= 3; i++) {
		loop_timer_arm(loop, &end, 2 * NS_PER_MS);
		run();
		cr_assert_eq(c.calls, i);
		cr_assert_eq(loop_mod_fd(loop, &c.source, EPOLLIN), 0);
	}
	remove_and_close(&c.source);
}

Test(loop_fd, mask_changed_to_and_fro_before_the_loop_runs_is_the_last_one)
{
	struct loop_timer end = {.fired = stop_on_timer};
	struct loop_fd source = {.ready = note_events};
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	source.fd = fds[0];
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN), 0);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_eq(loop_mod_fd(loop, &source, EPOLLOUT), 0);
	cr_assert_eq(loop_mod_fd(loop, &source, EPOLLIN), 0);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_eq(seen_events, 0);
	cr_assert_eq(loop_mod_fd(loop, &source, EPOLLIN | EPOLLOUT), 0);
	run();
	cr_assert_eq(seen_events, EPOLLOUT);
	close(fds[0]);
	close(fds[1]);
}

static void fill_socket(int fd)
{
	static const char junk[4096];

	while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	cr_assert_eq(errno, EAGAIN);
}

static void drain_socket(int fd)
{
	static char junk[4096];

	while (recv(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	cr_assert_eq(errno, EAGAIN);
}

Test(loop_fd, event_that_is_wanted_no_more_is_not_reported)
{
	struct loop_timer end = {.fired = stop_on_timer};
	struct loop_fd source = {.ready = note_events};
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	source.fd = fds[0];
	fill_socket(fds[0]);
	cr_assert_eq(loop_add_fd(loop, &source, EPOLLIN | EPOLLOUT), 0);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_eq(loop_mod_fd(loop, &source, EPOLLIN), 0);
	drain_socket(fds[1]);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_eq(seen_events, 0);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	run();
	cr_assert_eq(seen_events, EPOLLIN);
	close(fds[0]);
	close(fds[1]);
}

/* Edge-triggered, one kick is one call; level-triggered, it is called until somebody reads. */
Test(loop_fd, way_of_triggering_may_change)
{
	struct counted_fd c = counted_eventfd(0);
	struct loop_timer end = {.fired = stop_on_timer};

	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN | EPOLLET), 0);
	eventfd_kick(c.source.fd);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_eq(c.calls, 1);
	cr_assert_eq(loop_mod_fd(loop, &c.source, EPOLLIN), 0);
	c.stop_at = 10;
	run();
	cr_assert_eq(c.calls, 10);
	loop_timer_cancel(loop, &end);
	cr_assert_eq(loop_mod_fd(loop, &c.source, EPOLLIN | EPOLLET), 0);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	cr_assert_leq(c.calls, 11, "at most once, since it is ready: %d", c.calls);
	remove_and_close(&c.source);
}

Test(loop_fd, hangup_is_reported_to_an_empty_mask)
{
	struct loop_fd source = {.ready = note_events};
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	source.fd = fds[0];
	cr_assert_eq(loop_add_fd(loop, &source, 0), 0);
	close(fds[1]);
	run();
	cr_assert(seen_events & EPOLLHUP);
	close(fds[0]);
}

Test(loop_fd, wrong_use_is_refused)
{
	struct counted_fd c = counted_eventfd(0);
	struct loop_fd closed = {.fd = -1, .ready = never_called};

	cr_assert_eq(loop_mod_fd(loop, &c.source, EPOLLIN), -ENOENT);
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN), 0);
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN), -EEXIST);
	cr_assert(c.source.added);
	cr_assert_eq(loop_add_fd(loop, &closed, EPOLLIN), -EBADF);
	remove_and_close(&c.source);
}

/* The kernel's own references must go with the source: the peer would not see the end. */
static void hang_up(struct loop_fd *source, uint32_t events)
{
	(void)events;
	remove_and_close(source);
}

Test(loop_fd, peer_of_a_removed_and_closed_socket_sees_the_end)
{
	struct loop_fd near = {.ready = hang_up}, far = {.ready = note_events};
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	near.fd = fds[0];
	far.fd = fds[1];
	cr_assert_eq(loop_add_fd(loop, &near, EPOLLIN), 0);
	cr_assert_eq(loop_add_fd(loop, &far, 0), 0);
	cr_assert_eq(write(far.fd, "x", 1), 1);
	run();
	cr_assert(seen_events & EPOLLHUP);
	close(far.fd);
}

/* As the one before, but its poll is still under way when it goes. */
Test(loop_fd, peer_of_a_socket_closed_while_it_was_waited_for_sees_the_end)
{
	struct loop_fd near = {.ready = never_called}, far = {.ready = note_events};
	struct loop_timer end = {.fired = stop_on_timer};
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	near.fd = fds[0];
	far.fd = fds[1];
	cr_assert_eq(loop_add_fd(loop, &near, EPOLLIN), 0);
	cr_assert_eq(loop_add_fd(loop, &far, 0), 0);
	loop_timer_arm(loop, &end, NS_PER_MS);
	run();
	remove_and_close(&near);
	run();
	cr_assert(seen_events & EPOLLHUP);
	close(far.fd);
}

static struct counted_fd second;

/* The new source has the number, and maybe the place, of the one that goes. */
static void make_room(struct loop_fd *source, uint32_t events)
{
	int fd = source->fd;

	(void)events;
	remove_and_close(source);
	second = counted_eventfd(2);
	cr_assert_eq(second.source.fd, fd);
	cr_assert_eq(loop_add_fd(loop, &second.source, EPOLLIN), 0);
	eventfd_kick(second.source.fd);
}

Test(loop_fd, descriptor_number_is_used_again_at_once)
{
	struct counted_fd first = counted_eventfd(0);

	first.source.ready = make_room;
	cr_assert_eq(loop_add_fd(loop, &first.source, EPOLLIN | EPOLLET), 0);
	eventfd_kick(first.source.fd);
	run();
	cr_assert_eq(second.calls, 2);
	remove_and_close(&second.source);
}

/* More than there are places in any table, within one turn. */
static void add_and_remove_many(struct loop_fd *source, uint32_t events)
{
	(void)source;
	(void)events;
	for (int i = 0; i < 5000; i++) {
		struct loop_fd passing = {.fd = source->fd, .ready = never_called};

		passing.fd = dup(source->fd);
		cr_assert_geq(passing.fd, 0);
		cr_assert_eq(loop_add_fd(loop, &passing, EPOLLIN | (i & 1 ? EPOLLET : 0)), 0);
		remove_and_close(&passing);
	}
	loop_stop(loop);
}

Test(loop_fd, sources_come_and_go_without_end)
{
	struct counted_fd c = counted_eventfd(0);

	c.source.ready = add_and_remove_many;
	cr_assert_eq(loop_add_fd(loop, &c.source, EPOLLIN), 0);
	eventfd_kick(c.source.fd);
	run();
	run();
	remove_and_close(&c.source);
}
