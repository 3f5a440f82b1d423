// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What the kernel says about this process, as far as pinning memory goes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_COMM_MAX 16 /* TASK_COMM_LEN, with the terminating zero */

struct process_facts {
	uid_t uid;
	bool memlock_unlimited;
	uint64_t memlock;      /* soft RLIMIT_MEMLOCK, bytes */
	long vmlck_kb;         /* VmLck of proc_pid_status(5); -1: not known */
	bool cap_sys_resource; /* in the effective set */
	bool cap_ipc_lock;     /* likewise; memory pinned with it is not accounted at all */
};

/** process_facts - fill in @facts; what the kernel does not tell stays 0, false or -1. */
void process_facts(struct process_facts *facts);

/** process_comm - the name of the calling thread, PR_GET_NAME of prctl(2). */
void process_comm(char comm[PROCESS_COMM_MAX]);
