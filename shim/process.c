// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "process.h"

#include "sys_open.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* The number after "VmLck:" in /proc/self/status, which is in kB. */
static long vmlck_kb(void)
{
	static const char key[] = "\nVmLck:";
	char status[4096];
	long kb = 0;
	const char *at;
	ssize_t length;
	int fd = sys_open("/proc/self/status", O_RDONLY, 0);

	if (fd < 0)
		return -1;
	length = read(fd, status, sizeof(status) - 1);
	close(fd);
	if (length < 0)
		return -1;
	status[length] = '\0';
	at = strstr(status, key);
	if (!at)
		return -1;
	for (at += strlen(key); *at == ' ' || *at == '\t'; at++)
		;
	for (; *at >= '0' && *at <= '9'; at++)
		kb = 10 * kb + (*at - '0');
	return kb;
}

static bool effective(const struct __user_cap_data_struct *data, unsigned capability)
{
	return data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

void process_facts(struct process_facts *facts)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &limit);
	syscall(SYS_capget, &header, data);
	*facts = (struct process_facts){
		.uid = getuid(),
		.memlock_unlimited = limit.rlim_cur == RLIM_INFINITY,
		.memlock = limit.rlim_cur,
		.vmlck_kb = vmlck_kb(),
		.cap_sys_resource = effective(data, CAP_SYS_RESOURCE),
		.cap_ipc_lock = effective(data, CAP_IPC_LOCK),
	};
}

void process_comm(char comm[PROCESS_COMM_MAX])
{
	memset(comm, 0, PROCESS_COMM_MAX);
	prctl(PR_GET_NAME, comm);
}
