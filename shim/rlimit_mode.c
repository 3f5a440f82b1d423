// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "rlimit_mode.h"

#include "helper_client.h"
#include "iommufd.h"
#include "log.h"

#include <errno.h>

static enum outcome outcome_of(int error)
{
	switch (error) {
	case ENOTTY:
	case EOPNOTSUPP:
		return OUTCOME_UNSUPPORTED;
	case EPERM:
		return OUTCOME_DENIED;
	case EBUSY:
		return OUTCOME_BUSY;
	case EINVAL:
		return OUTCOME_INVALID;
	default:
		return OUTCOME_FAILED;
	}
}

/* What GET says; its errno value, or 0. */
static int read_back(struct outcome_report *report)
{
	int error = iommufd_get_rlimit_mode(report->fd, &report->effective);

	report->effective_known = !error;
	return error;
}

static void query(struct outcome_report *report)
{
	report->error = read_back(report);
	report->outcome = report->error ? outcome_of(report->error) : OUTCOME_QUERIED;
}

static bool is_in_force(const struct outcome_report *report, uint64_t mode)
{
	return report->effective_known && report->effective == mode;
}

static void set(struct outcome_report *report, uint64_t mode, const char *helper)
{
	int set_error = iommufd_set_rlimit_mode(report->fd, mode);
	int get_error = read_back(report);

	if (set_error == EPERM && !is_in_force(report, mode) && *helper) {
		report->helper_asked = true;
		report->helper_error = helper_client_set_rlimit_mode(helper, report->fd, mode);
		if (!report->helper_error)
			set_error = 0;
		get_error = read_back(report); /* it may have done it and not said so */
	}
	if (is_in_force(report, mode)) {
		report->outcome = set_error ? OUTCOME_ALREADY : OUTCOME_APPLIED;
	} else if (set_error) {
		report->error = set_error;
		report->outcome = outcome_of(set_error);
	} else {
		report->error = get_error ? get_error : EIO;
		report->outcome = OUTCOME_FAILED;
	}
}

static bool open_fails(enum config_on_error on_error, enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_APPLIED:
	case OUTCOME_ALREADY:
	case OUTCOME_QUERIED:
		return false;
	case OUTCOME_UNSUPPORTED:
	case OUTCOME_DENIED:
		return on_error == ON_ERROR_FAIL;
	case OUTCOME_BUSY:
	case OUTCOME_INVALID:
	case OUTCOME_FAILED:
		break;
	}
	return on_error != ON_ERROR_CONTINUE;
}

int rlimit_mode_apply(const struct config *config, int fd, enum source source)
{
	struct outcome_report report = { .fd = fd, .source = source };

	if (config_invalid(config)) {
		read_back(&report);
		report.outcome = OUTCOME_INVALID;
		report.error = EINVAL;
	} else if (config->mode == MODE_QUERY) {
		query(&report);
	} else {
		set(&report, config->mode == MODE_PROCESS ? RLIMIT_MODE_PROCESS : RLIMIT_MODE_USER,
		    config->helper);
	}
	log_outcome(config, &report);
	return open_fails(config->on_error, report.outcome) ? report.error : 0;
}
