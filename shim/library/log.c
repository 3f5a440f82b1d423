// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "log.h"

#include "hint.h"
#include "iommufd.h"
#include "sink.h"
#include "sys.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void begin(struct logfmt *line, enum log_level level)
{
	logfmt_begin(line, "iommufd-rlimit", level);
}

static void add_process(struct logfmt *line)
{
	char comm[16] = ""; /* TASK_COMM_LEN */

	logfmt_number(line, "pid", syscall(SYS_getpid));
	syscall(SYS_prctl, PR_GET_NAME, comm);
	logfmt_text(line, "comm", comm);
}

static void add_hint(struct logfmt *line, const char *hint)
{
	if (*hint)
		logfmt_text(line, "hint", hint);
}

/* Writes to the sink of the settings; if that fails, to stderr with the reason. */
static void emit(const struct config *config, const struct logfmt *line)
{
	struct logfmt reason;
	int error;

	if (line->level > config->log_level)
		return;
	error = sink_write(config->log, config->log_path, line);
	if (!error || config->log == LOG_TO_STDERR)
		return;
	sink_write(LOG_TO_STDERR, NULL, line);
	begin(&reason, LOG_LEVEL_ERROR);
	logfmt_text(&reason, "setting", config_variable_name(CONFIG_LOG));
	logfmt_text(&reason, "value", config_value(config, CONFIG_LOG));
	logfmt_text(&reason, "used", "stderr");
	logfmt_errno(&reason, "errno", error);
	add_hint(&reason, "set IOMMUFD_RLIMIT_LOG to a file that this user can write to");
	sink_write(LOG_TO_STDERR, NULL, &reason);
}

static void log_bad_setting(const struct config *config, enum config_variable variable)
{
	enum config_fault fault = config->bad[variable].fault;
	struct logfmt line;

	begin(&line, LOG_LEVEL_ERROR);
	logfmt_text(&line, "setting", config_variable_name(variable));
	logfmt_text(&line, "value", config->bad[variable].excerpt);
	if (variable != CONFIG_MODE)
		logfmt_text(&line, "used", config_value(config, variable));
	logfmt_text(&line, "accepted", config_accepted(variable, fault));
	add_process(&line);
	add_hint(&line, "correct it where the environment is set; see iommufd-rlimit(7)");
	emit(config, &line);
}

void log_outcome(const struct config *config, const struct outcome_report *report)
{
	static const char sources[][10] = {
		[SOURCE_OPEN] = "open", [SOURCE_INHERITED] = "inherited"
	};
	const struct outcome_policy *policy = &outcome_policies[report->outcome];
	char hint[HINT_MAX];
	struct logfmt line;

	for (enum config_variable v = CONFIG_MODE; v < CONFIG_VARIABLES; v++)
		if (config->bad[v].fault)
			log_bad_setting(config, v);

	begin(&line, policy->level);
	logfmt_text(&line, "outcome", policy->name);
	logfmt_number(&line, "fd", report->fd);
	logfmt_text(&line, "source", sources[report->source]);
	logfmt_text(&line, "requested", config_value(config, CONFIG_MODE));
	logfmt_text(&line, "effective",
		    report->effective_known ? rlimit_mode_name(report->effective) : "unknown");
	if (report->outcome == OUTCOME_APPLIED)
		logfmt_text(&line, "via",
			    report->helper.step == HELPER_NOT_ASKED ? "ioctl" : "helper");
	if (report->error)
		logfmt_errno(&line, "errno", report->error);
	if (report->helper.error) {
		logfmt_errno(&line, "helper", report->helper.error);
		logfmt_text(&line, "helper_step", helper_step_name(report->helper.step));
	}
	add_process(&line);
	hint_write(config, report, hint);
	add_hint(&line, hint);
	emit(config, &line);
}

static void add_capability(struct logfmt *line, const char *key, unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	bool effective;

	syscall(SYS_capget, &header, data);
	effective = data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
	logfmt_text(line, key, effective ? "yes" : "no");
}

void log_load(const struct config *config)
{
	struct {
		uint64_t soft, hard;
	} limit = { 0 }; /* bytes; the kernel's struct rlimit64 */
	struct logfmt line;

	if (config->log_level < LOG_LEVEL_DEBUG)
		return;
	begin(&line, LOG_LEVEL_DEBUG);
	logfmt_text(&line, "version", VERSION);
	logfmt_text(&line, "mode", config_value(config, CONFIG_MODE));
	logfmt_text(&line, "on_error", config_value(config, CONFIG_ON_ERROR));
	logfmt_text(&line, "log", config_value(config, CONFIG_LOG));
	logfmt_text(&line, "helper", config_value(config, CONFIG_HELPER));
	logfmt_number(&line, "uid", syscall(SYS_UID));
	syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, NULL, &limit);
	if (limit.soft == UINT64_MAX)
		logfmt_text(&line, "memlock", "unlimited");
	else
		logfmt_number(&line, "memlock", (int64_t)limit.soft);
	add_capability(&line, "cap_sys_resource", CAP_SYS_RESOURCE);
	add_capability(&line, "cap_ipc_lock", CAP_IPC_LOCK); /* exempt from accounting */
	add_process(&line);
	emit(config, &line);
}
