// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * listen PATH PROGRAM: starts PROGRAM with a listening socket as descriptor 0, as systemd does.
 * Prints its process number. When this program ends, the socket takes connections.
 */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, argv[1]);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, SOMAXCONN) < 0) {
		perror(argv[1]);
		return 1;
	}
	pid = fork();
	if (!pid) {
		dup2(listener, STDIN_FILENO);
		dup2(STDERR_FILENO, STDOUT_FILENO); /* whoever reads our number waits no longer */
		execl(argv[2], argv[2], NULL);
		perror(argv[2]);
		_exit(1);
	}
	return pid < 0 || printf("%d\n", pid) < 0;
}
