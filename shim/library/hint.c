// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "hint.h"

#include "iommufd.h"

#include <errno.h>
#include <string.h>

#define STEP_MAX 72 /* bytes of the step to take, with the terminating zero */

/* Arrays and not pointers, which ld.so would have to relocate in each program. */
static const struct {
	enum helper_step step;
	int error; /* 0: any other */
	char text[STEP_MAX];
} helper_hints[] = {
	{ HELPER_OPEN, 0, "open /dev/iommu with O_RDWR; the helper gives nothing else" },
	{ HELPER_CONNECT, ENOENT, "run: systemctl enable --now iommufd-rlimit-helper.socket" },
	{ HELPER_CONNECT, ECONNREFUSED, "run: systemctl restart iommufd-rlimit-helper.socket" },
	{ HELPER_CONNECT, EPROTOTYPE, "run: systemctl restart iommufd-rlimit-helper.socket" },
	{ HELPER_CONNECT, EACCES, "this user may not connect; run: iommufd-rlimit-doctor" },
	{ HELPER_CONNECT, EMFILE, "raise the limit of open files: ulimit -n" },
	{ HELPER_LISTENER, 0, "the listener is not trusted; run: iommufd-rlimit-doctor" },
	{ HELPER_RECEIVE, EBADMSG, "no descriptor left, or denied; run: iommufd-rlimit-doctor" },
	{ HELPER_RECEIVE, EPROTO, "the listener is not the helper; run: iommufd-rlimit-doctor" },
	{ HELPER_RECEIVE, 0, "run: journalctl -u iommufd-rlimit-helper" },
	{ HELPER_ANSWER, 0, "the helper failed; run: journalctl -u iommufd-rlimit-helper" },
	{ HELPER_CHECK, 0, "the listener is not the helper; run: iommufd-rlimit-doctor" },
	{ HELPER_REPLACE, EBADF, "raise the limit of open files: ulimit -n" },
};

static const char *helper_hint(const struct helper_result *helper)
{
	for (size_t i = 0; i < sizeof(helper_hints) / sizeof(helper_hints[0]); i++)
		if (helper_hints[i].step == helper->step &&
		    (!helper_hints[i].error || helper_hints[i].error == helper->error))
			return helper_hints[i].text;
	return "run: iommufd-rlimit-doctor";
}

static const char *denied_hint(const struct config *config, const struct outcome_report *report)
{
	if (report->source == SOURCE_INHERITED)
		return "preload the library into the program that opened this descriptor";
	if (config->helper_is_set && report->helper.step == HELPER_CONNECT &&
	    (report->helper.error == ENOENT || report->helper.error == ECONNREFUSED ||
	     report->helper.error == EPROTOTYPE))
		return "start the helper on the socket that IOMMUFD_RLIMIT_HELPER names";
	if (report->helper.step != HELPER_NOT_ASKED)
		return helper_hint(&report->helper);
	if (config->mode == MODE_QUERY)
		return "run: iommufd-rlimit-doctor";
	return config->mode == MODE_PROCESS ? "unset IOMMUFD_RLIMIT_HELPER"
					    : "give the program CAP_SYS_RESOURCE";
}

static const char *step(const struct config *config, const struct outcome_report *report)
{
	switch (report->outcome) {
	case OUTCOME_UNSUPPORTED:
		return report->error == ENOTTY
			       ? "this file is not an iommufd; run: ls -l /dev/iommu"
			       : "boot Linux 6.6 or later";
	case OUTCOME_DENIED:
		return denied_hint(config, report);
	case OUTCOME_BUSY:
		return "set the mode in the program that opened this iommufd";
	case OUTCOME_INVALID:
		return config_invalid(config) ? "correct the setting named above"
					      : "this kernel does not take the mode; set another";
	default:
		return report->open_fails ? "to go on, set IOMMUFD_RLIMIT_ON_ERROR=continue"
					  : "run: iommufd-rlimit-doctor";
	}
}

static const char *what_is_left(const struct outcome_report *report)
{
	if (report->open_fails)
		return "this open fails; ";
	if (!report->effective_known)
		return "the program goes on; ";
	return report->effective == RLIMIT_MODE_PROCESS
		       ? "the program goes on with per-process accounting; "
		       : "the program goes on with per-user accounting; ";
}

static char *append(char *to, const char *text)
{
	size_t length = strlen(text);

	memcpy(to, text, length + 1);
	return to + length;
}

void hint_write(const struct config *config, const struct outcome_report *report,
		char hint[HINT_MAX])
{
	*hint = '\0';
	if (outcome_policies[report->outcome].level < LOG_LEVEL_INFO)
		append(append(hint, what_is_left(report)), step(config, report));
}
