// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_confine.h"

#include "iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534 /* the kernel's overflow user and group */

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define FILTER_ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARMEL__)
#define FILTER_ARCH AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define FILTER_ARCH AUDIT_ARCH_RISCV64
#elif defined(__loongarch__) && __loongarch_grlen == 64
#define FILTER_ARCH AUDIT_ARCH_LOONGARCH64
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define FILTER_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define FILTER_ARCH AUDIT_ARCH_S390X
#else
#define FILTER_ARCH 0 /* none that we know */
#endif

static int get_capabilities(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return (int)syscall(SYS_capget, &header, data);
}

static int set_capabilities(const struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return (int)syscall(SYS_capset, &header, data);
}

static const char *change_user(void)
{
	const struct passwd *account = getpwnam(HELPER_ACCOUNT);
	uid_t uid = account ? account->pw_uid : NOBODY;
	gid_t gid = account ? account->pw_gid : NOBODY;

	if (prctl(PR_SET_KEEPCAPS, 1) < 0)
		return "prctl(PR_SET_KEEPCAPS)";
	if (setgroups(0, NULL) < 0)
		return "setgroups";
	if (setresgid(gid, gid, gid) < 0)
		return "setresgid";
	if (setresuid(uid, uid, uid) < 0)
		return "setresuid";
	return NULL;
}

static const char *drop_capabilities(void)
{
	struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct __user_cap_data_struct wanted[_LINUX_CAPABILITY_U32S_3] = { 0 };
	const int index = CAP_TO_INDEX(CAP_SYS_RESOURCE);

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (get_capabilities(has) < 0)
		return "capget";
	wanted[index].permitted = has[index].permitted & CAP_TO_MASK(CAP_SYS_RESOURCE);
	wanted[index].effective = wanted[index].permitted;
	/* systemd's filter has no capset(2), and what can be inherited no longer matters. */
	if (has[0].permitted == wanted[0].permitted && has[0].effective == wanted[0].effective &&
	    has[1].permitted == wanted[1].permitted && has[1].effective == wanted[1].effective)
		return NULL;
	return set_capabilities(wanted) < 0 ? "capset" : NULL;
}

const char *helper_confine_privileges(void)
{
	const char *failed;

	if (!geteuid()) {
		failed = change_user();
		if (failed)
			return failed;
	}
	failed = drop_capabilities();
	if (failed)
		return failed;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? "prctl(PR_SET_NO_NEW_PRIVS)" : NULL;
}

bool helper_confine_has_capability(void)
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return !get_capabilities(data) &&
	       data[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

bool helper_confine_filter_exists(void)
{
	return FILTER_ARCH && (prctl(PR_GET_SECCOMP) >= 0 || errno != EINVAL);
}

/* The low half of the second argument: the kernel looks at no more of it in the calls below. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SECOND_ARGUMENT offsetof(struct seccomp_data, args[1])
#else
#define SECOND_ARGUMENT (offsetof(struct seccomp_data, args[1]) + sizeof(uint32_t))
#endif

/* clang-format off */
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset))
#define IF_EQUAL(value, skip_then, skip_else) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), skip_then, skip_else)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define ALLOW(number) IF_EQUAL(number, 0, 1), RETURN(SECCOMP_RET_ALLOW)
#define ALLOW_WITH(number, second_argument, otherwise) \
	IF_EQUAL(number, 0, 4), \
	LOAD(SECOND_ARGUMENT), \
	IF_EQUAL(second_argument, 0, 1), \
	RETURN(SECCOMP_RET_ALLOW), \
	RETURN(otherwise)
/* clang-format on */

int helper_confine_system_calls(void)
{
	static const struct sock_filter filter[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		IF_EQUAL(FILTER_ARCH, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(offsetof(struct seccomp_data, nr)),
		ALLOW_WITH(SYS_ioctl, IOMMU_OPTION, SECCOMP_RET_KILL_PROCESS),
		ALLOW_WITH(SYS_fcntl, F_GETFL, SECCOMP_RET_ERRNO | EPERM),
		/* By syscall(2): some machines have libc make others of these. */
		ALLOW(SYS_getsockopt),
		ALLOW(SYS_recvmsg),
		ALLOW(SYS_sendto),
		ALLOW(SYS_statx),
		ALLOW(SYS_write),
		ALLOW(SYS_exit_group),
	/* Each libc and architecture has its own idea of how to poll and read a link. */
#ifdef SYS_poll
		ALLOW(SYS_poll),
#endif
		ALLOW(SYS_ppoll),
		ALLOW(SYS_restart_syscall),
#ifdef SYS_readlink
		ALLOW(SYS_readlink),
#endif
		ALLOW(SYS_readlinkat),
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
		/* What their runtimes do on the way. */
		ALLOW(SYS_mmap),
		ALLOW(SYS_sigaltstack),
#endif
		RETURN(SECCOMP_RET_ERRNO | EPERM),
	};
	const struct sock_fprog program = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = (struct sock_filter *)filter,
	};

	if (!helper_confine_filter_exists())
		return 0;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? errno : 0;
}
