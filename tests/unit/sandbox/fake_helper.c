/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_helper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

char fake_dir[64];
struct heard heard;
struct broker *broker;

static const char *const scripts[FAKES] = {
	[FAKE_ECHO] = "echo hello >&2; echo $$ > echo.pid; echo r >&4; exec cat <&3 >&3",
	[FAKE_BROKEN] =
		"echo noise of no use >&2; echo cannot bind >&2; printf 'a port' >&2; exit 3",
	[FAKE_SILENT] = "echo $$ > silent.pid; echo still busy >&2; sleep 1000",
	[FAKE_STUBBORN] =
		"trap '' TERM; echo $$ > stubborn.pid; echo r >&4; while :; do sleep 1000; done",
	[FAKE_FAMILY] = "sleep 1000 & echo $! > near.pid; "
			"setsid sh -c 'echo $$ > far.new; mv far.new far.pid; exec sleep 1000' & "
			"echo r >&4; wait",
	[FAKE_FLAKY] = "echo x >> runs; [ $(wc -l < runs) = 2 ] && { echo not now >&2; exit 1; }; "
		       "echo r >&4; read word <&3; kill -9 $$",
	[FAKE_LOUD] = "echo r >&4; read word <&3; "
		      "i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); echo line $i >&2; done; "
		      "echo done >&3; read word <&3; exit 0",
	[FAKE_CURIOUS] =
		"echo r >&4; { echo uid $(id -u) groups $(id -G); "
		"echo fds $(ls /proc/self/fd); grep -E 'CapAmb|NoNewPrivs' /proc/self/status; "
		"echo environment $(tr '\\0' ' ' < /proc/$$/environ); "
		"grep SigIgn /proc/self/status; grep SigBlk /proc/self/status; "
		"echo that is all; } >&2; read word <&3",
	[FAKE_ONCE] = "echo $$ > once.pid; echo r >&4; exec cat <&3 >&3",
};

static int no_arguments(const union helper_settings *settings, struct helper_args *args)
{
	helper_args_add(args, "%u", settings->passt.mtu);
	return settings->passt.mtu > 65535 ? -EINVAL : 0;
}

#define FAKE(text)                                                                                 \
	{                                                                                          \
		.name = (text), .package = "fakes", .arguments = no_arguments, .noise = "noise ",  \
		.restarts = true, .as_nobody = true, .patience = 60000, .backoff = 1,              \
		.backoff_max = 10, .steady = 60000, .grace = 60000                                 \
	}
struct helper_row fake_table[FAKES] = {
	FAKE("fake-echo"),     FAKE("fake-missing"), FAKE("fake-broken"), FAKE("fake-silent"),
	FAKE("fake-stubborn"), FAKE("fake-family"),  FAKE("fake-flaky"),  FAKE("fake-loud"),
	FAKE("fake-curious"),  FAKE("fake-once"),
};

/* ---- files ---- */

static void write_script(unsigned i)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", fake_dir, fake_table[i].name);
	file = fopen(path, "we");
	cr_assert(file);
	(void)fprintf(file, "#!/bin/sh\ncd %s\n%s\n", fake_dir, scripts[i]);
	(void)fclose(file);
	cr_assert_eq(chmod(path, 0755), 0);
}

/* As the user nobody, too. */
static void write_scripts(void)
{
	char path[128];
	int log;

	(void)snprintf(fake_dir, sizeof(fake_dir), "/tmp/fakes.XXXXXX");
	cr_assert(mkdtemp(fake_dir));
	cr_assert_eq(chmod(fake_dir, 0777), 0);
	for (unsigned i = 0; i < FAKES; i++)
		if (scripts[i])
			write_script(i);
	(void)snprintf(path, sizeof(path), "%s:relative:/usr/bin:/bin", fake_dir);
	cr_assert_eq(setenv("PATH", path, 1), 0);
	(void)snprintf(path, sizeof(path), "%s/log", fake_dir);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	cr_assert_geq(log, 0);
	log_init(log, LOG_INFO);
}

static char *text_of(const char *name)
{
	static char text[65536];
	char path[128];
	ssize_t n = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", fake_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, text, sizeof(text) - 1);
	(void)fd_close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

int fake_pid(const char *file)
{
	while (!strchr(text_of(file), '\n'))
		(void)usleep(1000);
	return atoi(text_of(file));
}

void fake_wait_for_log(const char *text)
{
	struct pollfd fd = {.fd = broker_fd(broker), .events = POLLIN};

	while (!strstr(text_of("log"), text)) {
		cr_assert_eq(poll(&fd, 1, -1), 1);
		cr_assert_eq(broker_read(broker), 0);
	}
}

void assert_gone(int pid)
{
	cr_assert_gt(pid, 0);
	cr_assert(kill(pid, 0) < 0 && errno == ESRCH, "process %d is still there", pid);
}

/* ---- the listener ---- */

static void on_died(struct broker_listener *listener, unsigned helper, const char *how)
{
	(void)listener;
	heard.died++;
	heard.helper = helper;
	(void)snprintf(heard.text, sizeof(heard.text), "%s", how);
}

static void on_restarted(struct broker_listener *listener, unsigned helper, int fd)
{
	(void)listener;
	heard.restarted++;
	heard.helper = helper;
	(void)fd_close(heard.fd);
	heard.fd = fd;
}

static void on_not_restarted(struct broker_listener *listener, unsigned helper, const char *why)
{
	(void)listener;
	heard.not_restarted++;
	heard.helper = helper;
	(void)snprintf(heard.text, sizeof(heard.text), "%s", why);
}

static const struct broker_listener_ops listener_ops = {
	.died = on_died, .restarted = on_restarted, .not_restarted = on_not_restarted};

void fake_wait(const unsigned *what, unsigned n)
{
	struct pollfd fd = {.fd = broker_fd(broker), .events = POLLIN};

	while (*what < n) {
		cr_assert_eq(poll(&fd, 1, -1), 1);
		cr_assert_eq(broker_read(broker), 0);
	}
}

/* ---- the world ---- */

void fake_begin(void)
{
	struct err err = {0};

	write_scripts();
	fake_table[FAKE_ONCE].restarts = false;
	fake_table[FAKE_STUBBORN].grace = 1;
	fake_table[FAKE_SILENT].patience = 300;
	fake_table[FAKE_CURIOUS].capabilities = UINT64_C(1) << 10; /* CAP_NET_BIND_SERVICE */
	heard = (struct heard){.listener.ops = &listener_ops, .fd = -1};
	cr_assert_eq(broker_new(SANDBOX_STRICT, fake_table, FAKES, &heard.listener, &broker, &err),
		     0, "%s", err.msg);
}

void fake_end(void)
{
	char command[128];

	broker = broker_free(broker);
	(void)fd_close(heard.fd);
	while (waitpid(-1, NULL, 0) > 0)
		;
	(void)snprintf(command, sizeof(command), "rm -rf %s", fake_dir);
	cr_assert_eq(system(command), 0);
}

unsigned fake_start(enum fake kind, int *ret_fd)
{
	const union helper_settings settings = {0};
	struct err err = {0};
	unsigned helper = ~0u;
	int r = broker_start(broker, (enum helper_kind)kind, &settings, &helper, ret_fd, &err);

	cr_assert_eq(r, 0, "%s", err.msg);
	return helper;
}

const char *fake_fails(enum fake kind, int code)
{
	const union helper_settings settings = {0};
	static struct err err;
	unsigned helper;
	int fd = -1;

	err = (struct err){0};
	cr_assert_eq(broker_start(broker, (enum helper_kind)kind, &settings, &helper, &fd, &err),
		     code, "%s", err.msg);
	return err.msg;
}

void assert_echo(int fd)
{
	char word[6] = "";

	cr_assert_eq(write(fd, "hello", 5), 5);
	cr_assert_eq(recv(fd, word, 5, MSG_WAITALL), 5);
	cr_assert_str_eq(word, "hello");
}
