/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's own side, spoken to by a vmm that somebody else has taken over. */
#include "child.h"
#include "fake_helper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "sandbox/broker_process.h"
#include "sandbox/broker_wire.h"

static int sock;
static struct broker_request request;

static struct broker_reply reply_of(void)
{
	struct broker_reply reply = {0};
	int fd;

	cr_assert_eq(broker_wire_receive(sock, &reply, sizeof(reply), &fd), sizeof(reply));
	(void)fd_close(fd);
	return reply;
}

static void begin(void)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	if (fork() == 0)
		broker_process(fds[1], SANDBOX_STRICT, helper_table, HELPER_KINDS);
	(void)close(fds[1]);
	sock = fds[0];
	cr_assert_eq(reply_of().type, BROKER_HELLO);
	request = (struct broker_request){.type = BROKER_START, .kind = HELPER_PASST};
}

static void end(void)
{
	int status = -1;

	(void)close(sock);
	cr_assert_gt(wait(&status), 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the broker ends in order");
}
TestSuite(hostile, .init = begin, .fini = end, .timeout = 60);

static void assert_refused(const void *message, size_t len, int code)
{
	struct broker_reply reply;

	cr_assert_eq(broker_wire_send(sock, message, len, -1), 0);
	reply = reply_of();
	cr_assert_eq(reply.type, BROKER_START_FAILED);
	cr_assert_eq(reply.code, code, "%s", reply.text);
}

Test(hostile, a_message_of_another_size_is_refused)
{
	char large[sizeof(request) + 1] = {0};

	assert_refused(&request, sizeof(request) - 1, -EBADMSG);
	assert_refused(&request, 1, -EBADMSG);
	memcpy(large, &request, sizeof(request));
	assert_refused(large, sizeof(large), -EBADMSG);
}

Test(hostile, an_unknown_request_is_refused)
{
	request.type = 2;
	assert_refused(&request, sizeof(request), -EBADMSG);
}

Test(hostile, an_unknown_helper_is_refused)
{
	request.kind = HELPER_KINDS;
	assert_refused(&request, sizeof(request), -EINVAL);
	request.kind = UINT32_MAX;
	assert_refused(&request, sizeof(request), -EINVAL);
}

Test(hostile, settings_are_checked)
{
	request.settings.passt.n_forwards = UINT32_MAX;
	assert_refused(&request, sizeof(request), -EINVAL);
	request.settings.passt.n_forwards = 1;
	request.settings.passt.forwards[0] = (struct helper_forward){.host = 1, .guest = 1};
	(void)strcpy(request.settings.passt.forwards[0].address, "--pcap");
	assert_refused(&request, sizeof(request), -EINVAL);
}

Test(hostile, descriptors_that_come_along_are_dropped)
{
	request.type = 0;
	for (unsigned i = 0; i < 2000; i++) {
		cr_assert_eq(broker_wire_send(sock, &request, sizeof(request), STDIN_FILENO), 0);
		cr_assert_eq(reply_of().code, -EBADMSG);
	}
}

/* ---- the lock-down ---- */

static int try_what_is_refused(void)
{
	struct err err = {0};

	if (sandbox_lock_broker(SANDBOX_STRICT, 0, &err) < 0)
		return 1;
	errno = 0;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 || errno != EPERM)
		return 2;
	/* It may go on to start programs. */
	(void)execl("/bin/true", "true", NULL);
	return 3;
}

Test(lock, other_processes_are_out_of_reach_and_programs_are_not)
{
	need_seccomp();
	need_no_sanitizer("its runtime traces");
	cr_assert_eq(child_run(try_what_is_refused).code, 0);
}
