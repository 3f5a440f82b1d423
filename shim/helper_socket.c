// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_socket.h"

#include "helper_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		helper_log_problem("cannot create a socket: %s", strerror(errno));
	return fd;
}

/* A connection that was accepted, or would be as soon as there is room, or is of another type. */
static bool somebody_listens(const struct sockaddr_un *address)
{
	int fd = new_socket();
	bool refused;

	if (fd < 0)
		return true;
	refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
		  (errno == ECONNREFUSED || errno == ENOENT);
	close(fd);
	return !refused;
}

/* True where the name is free to bind. */
static bool clear_path(const struct sockaddr_un *address)
{
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return true; /* or bind(2) says why not */
	if (!S_ISSOCK(st.st_mode)) {
		helper_log_problem("%s exists and is no socket; move it away, or give another path",
				   path);
		return false;
	}
	if (somebody_listens(address)) {
		helper_log_problem("%s: another process listens there; stop it, "
				   "or give another path",
				   path);
		return false;
	}
	if (unlink(path) < 0 && errno != ENOENT) {
		helper_log_problem("cannot replace the stale socket %s: %s", path, strerror(errno));
		return false;
	}
	return true;
}

static bool bind_and_listen(int fd, const struct sockaddr_un *address, mode_t mode, gid_t group)
{
	static const int on = 1;
	const char *path = address->sun_path;
	mode_t mask = umask(~mode & 0777);
	int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));

	umask(mask);
	if (result < 0) {
		helper_log_problem("cannot create the socket %s: %s; its directory must exist "
				   "and be writable",
				   path, strerror(errno));
		return false;
	}
	/* Nobody can connect before listen(2), whatever the group is until here. */
	if (group != (gid_t)-1 && lchown(path, (uid_t)-1, group) < 0) {
		helper_log_problem("cannot give %s to group %u: %s; run as root, "
				   "or name a group you are in",
				   path, group, strerror(errno));
		unlink(path);
		return false;
	}
	/*
	 * helper_listen() counts on SO_PASSCRED of every connection, and a connection has it from
	 * the listener at the time of connect(2).
	 */
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    listen(fd, SOMAXCONN) < 0) {
		helper_log_problem("cannot listen on %s: %s", path, strerror(errno));
		unlink(path);
		return false;
	}
	return true;
}

/*
 * Of two that start at once, one waits for neither: it gives up. The lock is a file of its own
 * because any user who can read a directory can lock that, and stays: who removes it may remove
 * another's.
 */
static int lock_path(const char *path)
{
	char name[HELPER_SOCKET_PATH_MAX + sizeof(".lock")];
	int fd;

	stpcpy(stpcpy(name, path), ".lock");
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		helper_log_problem("cannot open %s: %s; its directory must exist and be writable, "
				   "and a file left there be this user's",
				   name, strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		helper_log_problem("cannot lock %s: %s; another process starts to listen there",
				   name, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static int listen_locked(const char *path, mode_t mode, gid_t group)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	memcpy(address.sun_path, path, strlen(path));
	if (!clear_path(&address))
		return -1;
	fd = new_socket();
	if (fd >= 0 && !bind_and_listen(fd, &address, mode, group)) {
		close(fd);
		return -1;
	}
	return fd;
}

int helper_socket_listen(const char *path, mode_t mode, gid_t group)
{
	int lock = lock_path(path);
	int fd;

	if (lock < 0)
		return -1;
	fd = listen_locked(path, mode, group);
	close(lock);
	return fd;
}
