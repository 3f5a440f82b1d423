// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "log.h"

#include "iommufd.h"
#include "process.h"
#include "sink.h"
#include "sys.h"

static const struct {
	const char name[12];
	enum log_level level;
	const char hint[112];
} outcomes[] = {
	[OUTCOME_APPLIED] = { "applied", LOG_LEVEL_INFO, "" },
	[OUTCOME_ALREADY] = { "already", LOG_LEVEL_INFO, "" },
	[OUTCOME_QUERIED] = { "queried", LOG_LEVEL_INFO, "" },
	[OUTCOME_UNSUPPORTED] = { "unsupported", LOG_LEVEL_WARNING,
				  "no IOMMU_OPTION_RLIMIT_MODE here: needs Linux 6.2 or later" },
	[OUTCOME_DENIED] = { "denied", LOG_LEVEL_WARNING,
			     "needs CAP_SYS_RESOURCE or iommufd-rlimit-helper; "
			     "see iommufd-rlimit(7)" },
	[OUTCOME_BUSY] = { "busy", LOG_LEVEL_ERROR,
			   "this iommufd has objects already; set the mode where it is opened" },
	[OUTCOME_INVALID] = { "invalid", LOG_LEVEL_ERROR,
			      "the kernel does not take this mode; see iommufd-rlimit(7)" },
	[OUTCOME_FAILED] = { "failed", LOG_LEVEL_ERROR,
			     "IOMMUFD_RLIMIT_ON_ERROR=continue lets the program go on without" },
};

static void begin(struct logfmt *line, enum log_level level)
{
	logfmt_begin(line, "iommufd-rlimit", level);
}

static void add_process(struct logfmt *line)
{
	char comm[PROCESS_COMM_MAX];

	logfmt_number(line, "pid", syscall(SYS_getpid));
	process_comm(comm);
	logfmt_text(line, "comm", comm);
}

static void add_hint(struct logfmt *line, const char *hint)
{
	if (*hint)
		logfmt_text(line, "hint", hint);
}

/* To the sink of the settings; where that fails to stderr, with the reason. */
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
	add_hint(&reason, "see that this user can write to it");
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

static const char *hint_for(const struct config *config, enum outcome outcome)
{
	if (outcome == OUTCOME_INVALID && config_invalid(config))
		return "correct the setting named above";
	return outcomes[outcome].hint;
}

void log_outcome(const struct config *config, const struct outcome_report *report)
{
	static const char sources[][10] = {
		[SOURCE_OPEN] = "open", [SOURCE_INHERITED] = "inherited"
	};
	bool mode_bad = config->bad[CONFIG_MODE].fault;
	struct logfmt line;

	for (enum config_variable v = CONFIG_MODE; v < CONFIG_VARIABLES; v++)
		if (config->bad[v].fault)
			log_bad_setting(config, v);

	begin(&line, outcomes[report->outcome].level);
	logfmt_text(&line, "outcome", outcomes[report->outcome].name);
	logfmt_number(&line, "fd", report->fd);
	logfmt_text(&line, "source", sources[report->source]);
	logfmt_text(&line, "requested", mode_bad ? "unknown" : config_value(config, CONFIG_MODE));
	logfmt_text(&line, "effective",
		    report->effective_known ? rlimit_mode_name(report->effective) : "unknown");
	if (report->outcome == OUTCOME_APPLIED)
		logfmt_text(&line, "via", report->helper_asked ? "helper" : "ioctl");
	if (report->error)
		logfmt_errno(&line, "errno", report->error);
	if (report->helper_error)
		logfmt_errno(&line, "helper", report->helper_error);
	add_process(&line);
	add_hint(&line, hint_for(config, report->outcome));
	emit(config, &line);
}

void log_load(const struct config *config)
{
	struct process_facts facts;
	struct logfmt line;

	if (config->log_level < LOG_LEVEL_DEBUG)
		return;
	process_facts(&facts);
	begin(&line, LOG_LEVEL_DEBUG);
	logfmt_text(&line, "version", VERSION);
	logfmt_text(&line, "mode", config_value(config, CONFIG_MODE));
	logfmt_text(&line, "on_error", config_value(config, CONFIG_ON_ERROR));
	logfmt_text(&line, "log", config_value(config, CONFIG_LOG));
	logfmt_text(&line, "helper", config_value(config, CONFIG_HELPER));
	logfmt_number(&line, "uid", facts.uid);
	if (facts.memlock_unlimited)
		logfmt_text(&line, "memlock", "unlimited");
	else
		logfmt_number(&line, "memlock", (int64_t)facts.memlock);
	if (facts.vmlck_kb >= 0)
		logfmt_number(&line, "vmlck_kb", facts.vmlck_kb);
	logfmt_text(&line, "cap_sys_resource", facts.cap_sys_resource ? "yes" : "no");
	logfmt_text(&line, "cap_ipc_lock", facts.cap_ipc_lock ? "yes" : "no");
	add_process(&line);
	emit(config, &line);
}
