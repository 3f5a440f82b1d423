// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The wire format of iommufd-rlimit-helper, which is that of KubeVirt's iommufd device plugin.
 *
 * A client connects to an AF_UNIX socket of type SOCK_STREAM and sends no request. The helper sends
 * one byte and closes. With HELPER_GIVEN comes one descriptor (SCM_RIGHTS of unix(7)): a new
 * iommufd in mode process. Any other byte is an errno value, and no descriptor comes with it. The
 * client acknowledges with one byte; KubeVirt's plugin waits for it, this project's helper does
 * not.
 */
#pragma once

#define HELPER_GIVEN           0
#define HELPER_ACKNOWLEDGEMENT 0
