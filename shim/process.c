// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "process.h"

#include "sys.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* The number in the line "VmLck:" of /proc/self/status, which is in kB. */
static long vmlck_kb(void)
{
	static const char key[] = "\nVmLck:";
	char status[4096];
	const char *at = status;
	long kb = 0;
	long length;
	int fd = sys_open("/proc/self/status", O_RDONLY, 0);

	if (fd < 0)
		return -1;
	length = syscall(SYS_read, fd, status, sizeof(status) - 1);
	sys_close(fd);
	if (length < 0)
		return -1;
	status[length] = '\0';
	while (length > (long)strlen(key) && memcmp(at, key, strlen(key))) {
		at++;
		length--;
	}
	if (length <= (long)strlen(key))
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
	struct {
		uint64_t soft, hard;
	} limit = { 0 };

	syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, NULL, &limit);
	syscall(SYS_capget, &header, data);
	*facts = (struct process_facts){
		.uid = (uid_t)syscall(SYS_UID),
		.memlock_unlimited = limit.soft == UINT64_MAX,
		.memlock = limit.soft,
		.vmlck_kb = vmlck_kb(),
		.cap_sys_resource = effective(data, CAP_SYS_RESOURCE),
		.cap_ipc_lock = effective(data, CAP_IPC_LOCK),
	};
}

void process_comm(char comm[PROCESS_COMM_MAX])
{
	memset(comm, 0, PROCESS_COMM_MAX);
	syscall(SYS_prctl, PR_GET_NAME, comm);
}
