# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""What the loaded SELinux policy says, asked by libselinux."""

import ctypes
import os
import socket
from ctypes import POINTER, byref, c_char_p, c_int, c_uint, c_uint32, c_ushort, c_void_p
from functools import lru_cache

from . import host

PERMISSIVE = 1  # SELINUX_AVD_FLAGS_PERMISSIVE
CTX_FILE = 0  # SELABEL_CTX_FILE
SO_PEERSEC = 31
TIMEOUT = 10  # seconds; more may wait to connect than the socket has room for


class Decision(ctypes.Structure):
    """struct av_decision"""

    _fields_ = [(name, c_uint32) for name in ("allowed", "decided", "auditallow", "auditdeny", "seqno", "flags")]


@lru_cache(maxsize=None)
def library():
    lib = ctypes.CDLL("libselinux.so.1", use_errno=True)
    lib.string_to_security_class.restype = c_ushort
    lib.string_to_av_perm.restype = c_uint32
    lib.string_to_av_perm.argtypes = [c_ushort, c_char_p]
    lib.security_compute_av_flags.argtypes = [c_char_p, c_char_p, c_ushort, c_uint32, POINTER(Decision)]
    lib.selabel_open.restype = c_void_p
    lib.selabel_open.argtypes = [c_uint, c_void_p, c_uint]
    lib.selabel_lookup.argtypes = [c_void_p, POINTER(c_char_p), c_char_p, c_int]
    lib.selinux_virtual_domain_context_path.restype = c_char_p
    return lib


MODULE = "iommufd-rlimit"  # of this project
SOCKET = "iommufd-rlimit-helper.socket"
HELPER = "system_u:system_r:iommufd_rlimit_t:s0"  # what its policy runs the helper as


def has_module():
    """In the policy that is loaded, from wherever it came."""
    return knows(HELPER)


def module():
    """The file that it is installed from."""
    return str(host.sample(f"{MODULE}.cil"))


def label():
    """Existing files get the label that the policy has for them now. A socket gets its label when it is made."""
    paths = ["/usr/libexec/iommufd-rlimit-helper", f"{host.RUN}/iommufd-rlimit", host.DEVICE, "/dev/vfio"]
    return [["restorecon", "-Ri", *paths], ["systemctl", "try-restart", SOCKET]]


def enforcing():
    return host.read(f"{host.SYS}/fs/selinux/enforce") == "1"


def knows(context):
    """The policy has the type of the context."""
    return library().security_check_context(context.encode()) == 0


def decide(source, target, tclass):
    number = library().string_to_security_class(tclass.encode())
    decision = Decision()
    if library().security_compute_av_flags(source.encode(), target.encode(), number, 0xFFFFFFFF, byref(decision)):
        raise OSError(ctypes.get_errno(), f"the policy does not say what {source} may do to {target}")
    return number, decision


def refused(source, target, tclass, permissions):
    """Of the permissions, a text, those that the policy does not give."""
    number, decision = decide(source, target, tclass)
    return [p for p in permissions.split() if not decision.allowed & library().string_to_av_perm(number, p.encode())]


def is_permissive(context):
    return bool(decide(context, context, "process")[1].flags & PERMISSIVE)


def process_context(pid):
    return host.read(f"{host.PROC}/{pid}/attr/current").rstrip("\0\n")


def file_context(path):
    return os.getxattr(path, "security.selinux").decode().rstrip("\0")


def peer_context(path):
    """Of the socket that listens at path; None where it cannot be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(path)
        except OSError:  # the check of the helper says it
            return None
        return connection.getsockopt(socket.SOL_SOCKET, SO_PEERSEC, 1024).decode().rstrip("\0")


def expected_context(path):
    """By the file contexts of the policy; None where it leaves the file as it was made."""
    context = c_char_p()
    if library().selabel_lookup(file_contexts(), byref(context), path.encode(), os.stat(path).st_mode):
        return None
    return context.value.decode()


@lru_cache(maxsize=None)
def file_contexts():
    return library().selabel_open(CTX_FILE, None, 0)


def virtual_domain_contexts():
    """What libvirt runs QEMU as: with KVM, and emulated."""
    return host.read(library().selinux_virtual_domain_context_path().decode()).split()


def type_of(context):
    return context.split(":")[2]
