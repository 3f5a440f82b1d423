// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * open COUNT [SOCKET]: opens the device COUNT times; prints the microseconds of an open, the
 * median. With the SOCKET of floor, each open is followed by getting a descriptor from there, with
 * no more system calls than that takes, so that whatever else the machine does meets both alike;
 * and the median of that is printed as well.
 */

#include "median.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool open_device(const struct sockaddr_un *unused)
{
	const int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	(void)unused;
	return fd >= 0 && !close(fd);
}

static bool get_from_floor(const struct sockaddr_un *address)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec bytes = { &byte, sizeof(byte) };
	struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	if (connection < 0 ||
	    connect(connection, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    recvmsg(connection, &message, MSG_CMSG_CLOEXEC) != 1 ||
	    message.msg_controllen < CMSG_LEN(sizeof(int)))
		return false;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return !close(connection) && !close(fd);
}

static double time_of(bool (*get)(const struct sockaddr_un *), const struct sockaddr_un *address)
{
	const double begin = microseconds();

	if (!get(address))
		exit(1);
	return microseconds() - begin;
}

int main(int argc, char **argv)
{
	const size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	struct sockaddr_un floor = { .sun_family = AF_UNIX };
	double *opens, *floors;

	if (!count)
		return 2;
	if (argc > 2)
		strncpy(floor.sun_path, argv[2], sizeof(floor.sun_path) - 1);
	opens = calloc(count, sizeof(opens[0]));
	floors = calloc(count, sizeof(floors[0]));
	for (size_t i = 0; i < count; i++) {
		opens[i] = time_of(open_device, NULL);
		if (argc > 2)
			floors[i] = time_of(get_from_floor, &floor);
	}
	printf("%.1f", median(opens, count));
	if (argc > 2)
		printf(" %.1f", median(floors, count));
	puts("");
	return 0;
}
