// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The two decoders: what they take, and that they take nothing else. */
#include "helper_process.h"

#include <errno.h>
#include <string.h>

static struct helper_reply good_reply(void)
{
	return (struct helper_reply){
		.magic = HELPER_REPLY_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.error = EBUSY,
		.effective = 1,
	};
}

static void takes_a_request(void **state)
{
	const struct helper_request sent = helper_good_request();
	struct helper_request request;

	(void)state;
	assert_int_equal(helper_request_decode(&sent, sizeof(sent), &request), 0);
	assert_memory_equal(&sent, &request, sizeof(sent));
}

static void refuses_every_other_size(void **state)
{
	const struct helper_request good = helper_good_request();
	const struct helper_reply good_answer = good_reply();
	char bytes[256] = { 0 };
	struct helper_request request;
	struct helper_reply reply;

	(void)state;
	memcpy(bytes, &good, sizeof(good));
	for (size_t size = 0; size <= sizeof(bytes); size++)
		assert_int_equal(helper_request_decode(bytes, size, &request),
				 size == sizeof(good) ? 0 : EPROTO);
	memcpy(bytes, &good_answer, sizeof(good_answer));
	for (size_t size = 0; size <= sizeof(bytes); size++)
		assert_int_equal(helper_reply_decode(bytes, size, &reply),
				 size == sizeof(good_answer) ? 0 : EPROTO);
}

static void leaves_the_result_alone_on_error(void **state)
{
	struct helper_request bad = helper_good_request();
	struct helper_reply bad_answer = good_reply();
	struct helper_request request, request_before;
	struct helper_reply reply, reply_before;

	(void)state;
	memset(&request, 0xa5, sizeof(request));
	memset(&reply, 0xa5, sizeof(reply));
	request_before = request;
	reply_before = reply;
	bad.mode = 2;
	bad_answer.effective = 2;
	assert_int_not_equal(helper_request_decode(&bad, sizeof(bad), &request), 0);
	assert_int_not_equal(helper_reply_decode(&bad_answer, sizeof(bad_answer), &reply), 0);
	assert_memory_equal(&request, &request_before, sizeof(request));
	assert_memory_equal(&reply, &reply_before, sizeof(reply));
}

static void tells_what_is_wrong_with_a_request(void **state)
{
	struct helper_request request, bad;

	(void)state;
	bad = helper_good_request();
	bad.magic = HELPER_REPLY_MAGIC;
	assert_int_equal(helper_request_decode(&bad, sizeof(bad), &request), EPROTO);
	bad = helper_good_request();
	bad.version++;
	assert_int_equal(helper_request_decode(&bad, sizeof(bad), &request), EPROTONOSUPPORT);
	bad = helper_good_request();
	bad.reserved = 1;
	assert_int_equal(helper_request_decode(&bad, sizeof(bad), &request), EPROTO);
	bad = helper_good_request();
	bad.mode = 1ULL << 32;
	assert_int_equal(helper_request_decode(&bad, sizeof(bad), &request), EINVAL);
	bad.mode = 0;
	assert_int_equal(helper_request_decode(&bad, sizeof(bad), &request), 0);
}

static void tells_another_version_whatever_its_size(void **state)
{
	struct helper_request request;
	struct helper_reply reply;
	char bytes[64] = { 0 };

	(void)state;
	memcpy(bytes, &(struct helper_request){ HELPER_REQUEST_MAGIC, 2, 0, 0, "" },
	       sizeof(struct helper_request));
	assert_int_equal(helper_request_decode(bytes, sizeof(bytes), &request), EPROTONOSUPPORT);
	memcpy(bytes, &(struct helper_reply){ HELPER_REPLY_MAGIC, 2, 0, 0 },
	       sizeof(struct helper_reply));
	assert_int_equal(helper_reply_decode(bytes, sizeof(bytes), &reply), EPROTONOSUPPORT);
}

static void ends_a_name_that_has_no_end(void **state)
{
	struct helper_request sent = helper_good_request();
	struct helper_request request;

	(void)state;
	memset(sent.comm, 'x', sizeof(sent.comm));
	assert_int_equal(helper_request_decode(&sent, sizeof(sent), &request), 0);
	assert_string_equal(request.comm, "xxxxxxxxxxxxxxx");
}

static void takes_a_reply(void **state)
{
	static const uint64_t modes[] = { 0, 1, HELPER_MODE_UNKNOWN };
	struct helper_reply sent = good_reply();
	struct helper_reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		sent.effective = modes[i];
		assert_int_equal(helper_reply_decode(&sent, sizeof(sent), &reply), 0);
		assert_memory_equal(&sent, &reply, sizeof(sent));
	}
}

static void tells_what_is_wrong_with_a_reply(void **state)
{
	struct helper_reply reply, bad;

	(void)state;
	bad = good_reply();
	bad.magic = HELPER_REQUEST_MAGIC;
	assert_int_equal(helper_reply_decode(&bad, sizeof(bad), &reply), EPROTO);
	bad = good_reply();
	bad.error = 4096;
	assert_int_equal(helper_reply_decode(&bad, sizeof(bad), &reply), EPROTO);
	bad = good_reply();
	bad.effective = 2;
	assert_int_equal(helper_reply_decode(&bad, sizeof(bad), &reply), EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_request),
		cmocka_unit_test(refuses_every_other_size),
		cmocka_unit_test(leaves_the_result_alone_on_error),
		cmocka_unit_test(tells_what_is_wrong_with_a_request),
		cmocka_unit_test(tells_another_version_whatever_its_size),
		cmocka_unit_test(ends_a_name_that_has_no_end),
		cmocka_unit_test(takes_a_reply),
		cmocka_unit_test(tells_what_is_wrong_with_a_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
