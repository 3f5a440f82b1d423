// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* iommufd-rlimit-helper: options in, one of the two ways to run out. */
#include "helper_confine.h"
#include "helper_listen.h"
#include "helper_log.h"
#include "helper_peer.h"
#include "helper_serve.h"
#include "helper_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

struct options {
	const char *path; /* NULL: one connection on descriptor 0 */
	mode_t mode;
	gid_t group;
	struct helper_access access;
};

static void print_help(void)
{
	fputs("usage: " HELPER_NAME " [--allow-user NAME]... [--allow-group NAME]...\n"
	      "       " HELPER_NAME " --listen PATH [--mode MODE] [--group NAME]\n"
	      "                             [--allow-user NAME]... [--allow-group NAME]...\n"
	      "\n"
	      "Sets the accounting mode of an iommufd for a program that lacks CAP_SYS_RESOURCE\n"
	      "and was started with libiommufd-rlimit.so.\n"
	      "\n"
	      "Without --listen it serves the connection on its standard input, as systemd hands\n"
	      "it over (Accept=yes), and ends.\n"
	      "\n"
	      "  --listen PATH       create this socket and serve until ended; as root, drop all\n"
	      "                      but CAP_SYS_RESOURCE\n"
	      "  --mode MODE         permissions of the socket, in octal (default: 0660)\n"
	      "  --group NAME        group of the socket (default: that of the process)\n"
	      "  --allow-user NAME   serve only this user; may be repeated\n"
	      "  --allow-group NAME  serve only members of this group; may be repeated. With "
	      "both,\n"
	      "                      either is enough\n"
	      "  --help              print this and end\n"
	      "  --version           print the version and end\n"
	      "\n"
	      "See iommufd-rlimit-helper(8).\n",
	      stdout);
}

/* A number up to @max in digits of @base and nothing else; false for all others. */
static bool parse_number(const char *text, int base, unsigned long max, unsigned long *number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*number = strtoul(text, &end, base);
	return !errno && !*end && *number <= max;
}

static bool parse_path(const char *text, const char **path)
{
	if (*text != '/' || strlen(text) > HELPER_SOCKET_PATH_MAX) {
		helper_log_problem("--listen: \"%s\" is no absolute path of at most %zu bytes",
				   text, HELPER_SOCKET_PATH_MAX);
		return false;
	}
	*path = text;
	return true;
}

static bool parse_mode(const char *text, mode_t *mode)
{
	unsigned long number;

	if (!parse_number(text, 8, 0777, &number)) {
		helper_log_problem("--mode: \"%s\" is no file mode; "
				   "give octal digits up to 0777, such as 0660",
				   text);
		return false;
	}
	*mode = (mode_t)number;
	return true;
}

/* The highest number means "leave it as it is" to chown(2), so it is no user or group. */
#define ID_MAX ((uid_t)-2)

static bool parse_user(const char *option, const char *name, uid_t *uid)
{
	const struct passwd *user = getpwnam(name);
	unsigned long number;

	if (!user && !parse_number(name, 10, ID_MAX, &number)) {
		helper_log_problem("%s: there is no user \"%s\"; give a name that "
				   "'getent passwd' lists, or a number",
				   option, name);
		return false;
	}
	*uid = user ? user->pw_uid : (uid_t)number;
	return true;
}

static bool parse_group(const char *option, const char *name, gid_t *gid)
{
	const struct group *group = getgrnam(name);
	unsigned long number;

	if (!group && !parse_number(name, 10, ID_MAX, &number)) {
		helper_log_problem("%s: there is no group \"%s\"; give a name that "
				   "'getent group' lists, or a number",
				   option, name);
		return false;
	}
	*gid = group ? group->gr_gid : (gid_t)number;
	return true;
}

enum { LISTEN = 1, MODE, GROUP, ALLOW_USER, ALLOW_GROUP, HELP, SHOW_VERSION };

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, LISTEN },
	{ "mode", required_argument, NULL, MODE },
	{ "group", required_argument, NULL, GROUP },
	{ "allow-user", required_argument, NULL, ALLOW_USER },
	{ "allow-group", required_argument, NULL, ALLOW_GROUP },
	{ "help", no_argument, NULL, HELP },
	{ "version", no_argument, NULL, SHOW_VERSION },
	{ 0 },
};

static bool require(const struct options *options, const char *option)
{
	if (!options->path)
		helper_log_problem("%s only goes with --listen; see --help", option);
	return options->path;
}

/* -1 to go on, else the status to exit with. */
static int parse_options(int argc, char **argv, struct options *options)
{
	struct helper_access *access = &options->access;
	bool mode_given = false, group_given = false;
	int option;

	access->users = calloc((size_t)argc, sizeof(*access->users));
	access->groups = calloc((size_t)argc, sizeof(*access->groups));
	if (!access->users || !access->groups) {
		helper_log_problem("out of memory");
		return EXIT_FAILURE;
	}
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		bool good = true;

		switch (option) {
		case LISTEN:
			good = parse_path(optarg, &options->path);
			break;
		case MODE:
			mode_given = true;
			good = parse_mode(optarg, &options->mode);
			break;
		case GROUP:
			group_given = true;
			good = parse_group("--group", optarg, &options->group);
			break;
		case ALLOW_USER:
			good = parse_user("--allow-user", optarg,
					  &access->users[access->user_count++]);
			break;
		case ALLOW_GROUP:
			good = parse_group("--allow-group", optarg,
					   &access->groups[access->group_count++]);
			break;
		case HELP:
			print_help();
			return EXIT_SUCCESS;
		case SHOW_VERSION:
			puts(HELPER_NAME " " VERSION);
			return EXIT_SUCCESS;
		default: /* getopt_long() has said what is wrong */
			helper_log_problem("see --help");
			return EXIT_USAGE;
		}
		if (!good)
			return EXIT_USAGE;
	}
	if (optind < argc) {
		helper_log_problem("\"%s\" is no option; see --help", argv[optind]);
		return EXIT_USAGE;
	}
	if ((mode_given && !require(options, "--mode")) ||
	    (group_given && !require(options, "--group")))
		return EXIT_USAGE;
	return -1;
}

/* What is opened later must not become what others write their words to. */
static bool open_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	return true;
}

static bool confine(void)
{
	const char *failed = helper_confine_privileges();

	if (failed)
		helper_log_problem("cannot drop privileges: %s: %s", failed, strerror(errno));
	return !failed;
}

static void log_start(const struct options *options)
{
	bool capable = helper_confine_has_capability();
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, capable ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING);
	logfmt_text(&line, "listening", options->path);
	logfmt_text(&line, "version", VERSION);
	logfmt_number(&line, "uid", geteuid());
	logfmt_text(&line, "cap_sys_resource", capable ? "yes" : "no");
	logfmt_text(&line, "system_call_filter", helper_confine_filter_exists() ? "yes" : "no");
	if (!capable)
		logfmt_text(&line, "hint",
			    "without CAP_SYS_RESOURCE the kernel will refuse every request");
	helper_log_line(&line);
}

static int run_by_itself(const struct options *options)
{
	int signals = helper_listen_signals();
	int listener;

	if (signals < 0) {
		helper_log_problem("cannot take signals: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	listener = helper_socket_listen(options->path, options->mode, options->group);
	if (listener < 0 || !confine())
		return EXIT_FAILURE;
	log_start(options);
	helper_listen(listener, signals, &options->access);
	return EXIT_SUCCESS;
}

static int socket_option(int fd, int option)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

static int run_for_one_connection(const struct options *options)
{
	if (socket_option(STDIN_FILENO, SO_DOMAIN) != AF_UNIX ||
	    socket_option(STDIN_FILENO, SO_TYPE) != SOCK_SEQPACKET ||
	    socket_option(STDIN_FILENO, SO_ACCEPTCONN) != 0) {
		helper_log_problem("standard input is no connection of an AF_UNIX socket of type "
				   "SOCK_SEQPACKET; start it from a systemd socket unit with "
				   "Accept=yes, or with --listen PATH");
		return EXIT_USAGE;
	}
	helper_serve_deadline();
	if (!confine())
		return EXIT_FAILURE;
	/* Straight to the kernel: nothing received may be waited for. */
	_exit(helper_serve(STDIN_FILENO, &options->access) ? EXIT_SUCCESS : EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	struct options options = { .mode = 0660, .group = (gid_t)-1 };
	int status;

	if (!open_standard_descriptors()) {
		helper_log_problem("cannot open /dev/null: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	status = parse_options(argc, argv, &options);
	if (status >= 0)
		return status;
	return options.path ? run_by_itself(&options) : run_for_one_connection(&options);
}
