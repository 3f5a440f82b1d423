// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "rlimit_mode.h"

#include "iommufd.h"
#include "log.h"

#include <errno.h>

/* Reads the mode in force into @report; returns 0 or an errno value. */
static int read_back(struct outcome_report *report)
{
	int error = iommufd_get_rlimit_mode(report->fd, &report->effective);

	report->effective_known = !error;
	return error;
}

static void query(struct outcome_report *report)
{
	report->error = read_back(report);
	report->outcome = report->error ? outcome_of_errno(report->error) : OUTCOME_QUERIED;
}

static bool is_in_force(const struct outcome_report *report, uint64_t mode)
{
	return report->effective_known && report->effective == mode;
}

static void set(const struct config *config, struct outcome_report *report, uint64_t mode)
{
	int set_error = iommufd_set_rlimit_mode(report->fd, mode);
	int get_error = read_back(report);

	/* An inherited iommufd may hold mappings, so nothing can take its place. */
	if (set_error == EPERM && mode == RLIMIT_MODE_PROCESS && !is_in_force(report, mode) &&
	    report->source == SOURCE_OPEN && *config->helper) {
		report->helper =
			helper_client_replace(config->helper, config->helper_is_set, report->fd);
		if (!report->helper.error) {
			set_error = 0;
			get_error = read_back(report);
		}
	}
	if (is_in_force(report, mode)) {
		report->outcome = set_error ? OUTCOME_ALREADY : OUTCOME_APPLIED;
	} else if (set_error) {
		report->error = set_error;
		report->outcome = outcome_of_errno(set_error);
	} else {
		report->error = get_error ? get_error : EIO;
		report->outcome = OUTCOME_FAILED;
	}
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
		set(config, &report,
		    config->mode == MODE_PROCESS ? RLIMIT_MODE_PROCESS : RLIMIT_MODE_USER);
	}
	report.open_fails = source == SOURCE_OPEN &&
			    outcome_policies[report.outcome].open_fails[config->on_error];
	log_outcome(config, &report);
	return report.open_fails ? report.error : 0;
}
