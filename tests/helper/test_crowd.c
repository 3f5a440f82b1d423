// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Many clients, idle, dead and hostile ones: nothing is leaked, and a good one is served at once.
 */
#include "helper_client.h"
#include "helper_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUESTS    10000
#define CONNECTIONS 1000
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUDGET_MS 1000
#else
#define BUDGET_MS 100 /* for a good client, whatever the others do */
#endif
#define SAMPLES      21
#define ROUNDS       5
#define STRANGER_UID 65533

static int device;
static double budget;

/* A good client is the library's: it tries again where it is turned away. */
static double timed_request(void)
{
	double start = milliseconds();

	assert_int_equal(helper_client_set_rlimit_mode(helper_path("sock"), device, 1), 0);
	return milliseconds() - start;
}

static int compare(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* What others do to the helper slows every request, what else the machine does only some. */
static double median(double *times, size_t count)
{
	qsort(times, count, sizeof(times[0]), compare);
	return times[count / 2];
}

static double typical_request(void)
{
	double times[SAMPLES];

	for (int i = 0; i < SAMPLES; i++)
		times[i] = timed_request();
	return median(times, SAMPLES);
}

/* Where a request by itself is slow already (sanitizers, emulation), a crowd may cost more. */
static void set_budget(void)
{
	double alone = typical_request();

	budget = 20 * alone > BUDGET_MS ? 20 * alone : BUDGET_MS;
	print_message("alone: %.2f ms\n", alone);
}

static void assert_in_budget(const char *what, double time)
{
	print_message("%s: %.2f ms\n", what, time);
	if (time > budget)
		fail_msg("%s: %.2f ms are more than %.0f", what, time, budget);
}

static int setup(void **state)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -1;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return -1;
	device = helper_open_device();
	return helper_setup(state);
}

static int teardown(void **state)
{
	close(device);
	return helper_teardown(state);
}

static size_t descriptors_of_helper(void)
{
	char name[32];
	DIR *directory;
	size_t count = 0;

	snprintf(name, sizeof(name), "/proc/%d/fd", helper_pid());
	directory = opendir(name);
	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static long memory_of_helper(void)
{
	char name[32];
	long size, resident = -1;
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/statm", helper_pid());
	file = fopen(name, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
	fclose(file);
	return size;
}

static size_t children_of_helper(void)
{
	char name[64], list[4096];
	size_t count = 0;
	ssize_t length;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/task/%d/children", helper_pid(), helper_pid());
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* a kernel without CONFIG_PROC_CHILDREN */
	length = read(fd, list, sizeof(list));
	close(fd);
	for (ssize_t i = 0; i < length; i++)
		count += list[i] == ' ';
	return count;
}

static void wait_until_idle(size_t descriptors)
{
	for (double end = milliseconds() + PATIENCE_MS; milliseconds() < end; poll(NULL, 0, 10))
		if (descriptors_of_helper() == descriptors && !children_of_helper())
			return;
	assert_int_equal(descriptors_of_helper(), descriptors);
	assert_int_equal(children_of_helper(), 0);
}

/* In turn: a good one, no descriptor, too many, no request, half of one, another device, none. */
static void request_of_any_kind(int turn)
{
	struct helper_request request = helper_good_request();
	struct helper_reply reply;
	int connection = helper_connect();
	const int fds[] = { device, device };
	int expected = 0;

	switch (turn % 7) {
	case 0:
		helper_send_good(connection, device);
		break;
	case 1:
		expected = EBADF;
		helper_send(connection, &request, sizeof(request), NULL, 0);
		break;
	case 2:
		expected = EBADF;
		helper_send(connection, &request, sizeof(request), fds, 2);
		break;
	case 3:
		expected = EPROTO;
		helper_send(connection, "what?", 5, fds, 1);
		break;
	case 4:
		expected = EPROTO;
		helper_send(connection, &request, sizeof(request) / 2, fds, 1);
		break;
	case 5:
		expected = ENOTTY;
		helper_send(connection, &request, sizeof(request), &connection, 1);
		break;
	default:
		close(connection);
		return;
	}
	assert_int_equal(helper_receive(connection, &reply), expected);
	close(connection);
}

static void is_the_same_after_10000_requests(void **state)
{
	size_t descriptors;
	long memory;
	double start;

	(void)state;
	helper_listen_with(NULL);
	for (int i = 0; i < 100; i++)
		request_of_any_kind(i);
	poll(NULL, 0, 100);
	descriptors = descriptors_of_helper();
	memory = memory_of_helper();
	start = milliseconds();
	for (int i = 0; i < REQUESTS; i++)
		request_of_any_kind(i);
	print_message("%d requests: %.2f ms each\n", REQUESTS, (milliseconds() - start) / REQUESTS);
	wait_until_idle(descriptors);
	assert_int_equal(memory_of_helper(), memory);
}

static void connect_often(int *connections)
{
	for (int i = 0; i < CONNECTIONS; i++)
		connections[i] = helper_connect();
}

static void close_all(const int *connections)
{
	for (int i = 0; i < CONNECTIONS; i++)
		close(connections[i]);
}

static void say_nonsense(const int *connections)
{
	for (int i = 0; i < CONNECTIONS; i++)
		helper_send(connections[i], "nonsense", 8, &device, 1);
}

/* @say: what the 1000 say; NULL for nothing. */
static void serves_a_good_client_beside_1000(void (*say)(const int *connections), const char *what)
{
	int connections[CONNECTIONS];
	double times[ROUNDS];
	size_t descriptors;

	helper_listen_with(NULL);
	set_budget();
	descriptors = descriptors_of_helper();
	for (int i = 0; i < ROUNDS; i++) {
		connect_often(connections);
		if (say)
			say(connections);
		times[i] = timed_request();
		assert_in_budget(what, typical_request());
		close_all(connections);
	}
	assert_in_budget("right after they came", median(times, ROUNDS));
	wait_until_idle(descriptors);
}

static void serves_a_good_client_beside_1000_that_say_nothing(void **state)
{
	(void)state;
	serves_a_good_client_beside_1000(NULL, "beside 1000 silent connections");
}

static void serves_a_good_client_beside_1000_that_say_nonsense(void **state)
{
	(void)state;
	serves_a_good_client_beside_1000(say_nonsense, "beside 1000 that say nonsense");
}

/* Runs @flood over and over in a process of its own; as another user if asked for, and we are root.
 */
static pid_t start_flood(void (*flood)(void), bool of_another_user)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (of_another_user && !getuid() && setresuid(STRANGER_UID, STRANGER_UID, STRANGER_UID) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
	for (;;)
		flood();
}

static void stop_flood(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* cmocka's failures are the parent's; here the helper may well be gone. */
static int connect_or_exit(void)
{
	int connection = helper_try_connect();

	if (connection < 0)
		_exit(1);
	return connection;
}

static void connect_and_close(void)
{
	close(connect_or_exit());
}

static void connect_and_keep(void)
{
	static int kept[CONNECTIONS];
	static int next;

	if (kept[next])
		close(kept[next]);
	kept[next] = connect_or_exit();
	next = (next + 1) % CONNECTIONS;
}

static void connect_and_babble(void)
{
	int connection = connect_or_exit();

	helper_send(connection, "nonsense", 8, &device, 1);
	close(connection);
}

static void serves_a_good_client_in_a_flood(void **state)
{
	static const struct {
		const char *name;
		void (*flood)(void);
	} floods[] = {
		{ "a flood of connections closed at once", connect_and_close },
		{ "a flood of connections kept", connect_and_keep },
		{ "a flood of nonsense", connect_and_babble },
	};
	size_t descriptors;

	(void)state;
	helper_listen_with((const char *[]){ "--mode", "0666", NULL });
	set_budget();
	descriptors = descriptors_of_helper();
	for (size_t i = 0; i < 2 * sizeof(floods) / sizeof(floods[0]); i++) {
		const bool of_another_user = i % 2;
		pid_t pid = start_flood(floods[i / 2].flood, of_another_user);

		poll(NULL, 0, 200);
		assert_in_budget(floods[i / 2].name, typical_request());
		stop_flood(pid);
		wait_until_idle(descriptors);
	}
}

static void send_one_that_hangs(int connection)
{
	struct helper_request request = helper_good_request();

	request.mode = 0;
	helper_send(connection, &request, sizeof(request), &device, 1);
}

static void hang_all_that_may(void)
{
	for (int i = 0; i < 100; i++) {
		send_one_that_hangs(connect_or_exit());
		poll(NULL, 0, 2);
	}
	pause();
}

static void serves_one_while_the_requests_of_another_hang(bool other_user, const char *what)
{
	size_t descriptors;
	pid_t pid;

	helper_listen_with((const char *[]){ "--mode", "0666", NULL });
	set_budget();
	descriptors = descriptors_of_helper();
	mock->hang = 1;
	pid = start_flood(hang_all_that_may, other_user);
	helper_wait_for_log("errno=ECONNRESET", 80);
	assert_in_budget(what, typical_request());
	helper_wait_for_log("outcome=failed signal=14", 1);
	stop_flood(pid);
	wait_until_idle(descriptors);
}

static void serves_one_user_while_the_requests_of_another_hang(void **state)
{
	(void)state;
	if (getuid())
		skip();
	serves_one_while_the_requests_of_another_hang(true, "beside another user's that hang");
}

static void serves_one_process_while_the_requests_of_another_hang(void **state)
{
	(void)state;
	serves_one_while_the_requests_of_another_hang(false, "beside another process's that hang");
}

/* A TCP socket whose close(2) waits for a peer that never reads. */
static int socket_that_is_slow_to_close(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger linger = { 1, 30 };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char bytes[65536] = { 0 };

	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&address, &size);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
	assert_true(accept(listener, NULL, NULL) >= 0); /* stays open, unread */
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(listener);
	return fd;
}

/* By a process whose end is the last to close it there: that does not wait. */
static void send_twice_and_close(int connection, int fd)
{
	struct helper_request request = helper_good_request();
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		char byte;

		close(ready[1]);
		if (read(ready[0], &byte, 1) < 0)
			_exit(1);
		/* The second is there when the helper's child has ended. */
		helper_send(connection, &request, sizeof(request), &fd, 1);
		helper_send(connection, "", 0, &fd, 1);
		_exit(0);
	}
	close(fd);
	close(ready[0]);
	close(ready[1]);
	waitpid(pid, NULL, 0);
}

/* The descriptor exists in the helper's queue alone: whoever closes that waits. */
static void is_not_held_up_by_descriptors_that_are_slow_to_close(void **state)
{
	(void)state;
	helper_listen_with(NULL);
	set_budget();
	for (int i = 0; i < 10; i++) {
		int connection = helper_connect();

		send_twice_and_close(connection, socket_that_is_slow_to_close());
		assert_in_budget("after a descriptor that is slow to close", timed_request());
		close(connection);
	}
}

/* Whose child has copies of all connections that there were when it started. */
static void lets_a_connection_go_though_a_request_hangs(void **state)
{
	struct helper_reply reply;
	int silent;
	struct pollfd hanging = { .events = POLLIN };

	(void)state;
	helper_listen_with(NULL);
	mock->hang = 1;
	silent = helper_connect();
	timed_request(); /* so that the helper has accepted it */
	hanging.fd = helper_connect();
	send_one_that_hangs(hanging.fd);
	assert_int_equal(helper_receive(silent, &reply), -1);
	assert_int_equal(poll(&hanging, 1, 200), 0); /* still hangs */
	close(silent);
	close(hanging.fd);
}

static bool has_children(size_t count)
{
	for (double end = milliseconds() + PATIENCE_MS; milliseconds() < end; poll(NULL, 0, 10))
		if (children_of_helper() == count)
			return true;
	return false;
}

/*
 * Enough processes for all places of their user to be taken, by children that SIGALRM ends, and
 * for as many connections to be overdue by then as make one more close them, if one more may.
 */
static void bounds_the_processes_that_hang_at_their_end(void **state)
{
	size_t descriptors;
	pid_t floods[20];

	(void)state;
	if (access("/proc/thread-self/children", F_OK) < 0)
		skip();
	helper_listen_with(NULL);
	timed_request();
	descriptors = descriptors_of_helper();
	wait_until_idle(descriptors);
	mock->hang_end = 1;
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++)
		floods[i] = start_flood(connect_and_babble, false);
	helper_wait_for_log("reason=\"too many processes hang", 1);
	assert_true(has_children(64));
	mock->hang_end = 0;
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++)
		stop_flood(floods[i]);
	wait_until_idle(descriptors);
	timed_request();
}

static void goes_on_when_it_is_out_of_descriptors(void **state)
{
	struct rlimit before, few;
	int connections[50];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = 8; /* three connections */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	helper_listen_with(NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	set_budget();
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		connections[i] = helper_connect();
	assert_in_budget("out of descriptors", typical_request());
	for (size_t i = 0; i < sizeof(connections) / sizeof(connections[0]); i++)
		close(connections[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* One argument: the only test to run. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(is_the_same_after_10000_requests),
		TEST(serves_a_good_client_beside_1000_that_say_nothing),
		TEST(serves_a_good_client_beside_1000_that_say_nonsense),
		TEST(serves_a_good_client_in_a_flood),
		TEST(serves_one_user_while_the_requests_of_another_hang),
		TEST(serves_one_process_while_the_requests_of_another_hang),
		TEST(is_not_held_up_by_descriptors_that_are_slow_to_close),
		TEST(lets_a_connection_go_though_a_request_hangs),
		TEST(bounds_the_processes_that_hang_at_their_end),
		TEST(goes_on_when_it_is_out_of_descriptors),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
