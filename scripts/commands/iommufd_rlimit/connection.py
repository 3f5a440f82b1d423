# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The connection to libvirt, and the domains that it has."""

import os
import sys
import threading

from . import host
from .host import Failure

try:
    import libvirt
    from libvirt import libvirtError
except ImportError:  # also for a directory of samples of that name
    libvirtError = None

Error = libvirtError or Failure  # of any call
TIMEOUT = 120  # seconds


def answer(call, *arguments):
    """What a call of libvirt returns. While the daemon gives no answer the call itself can be neither ended nor interrupted:
    it is made by a thread of its own, which is left behind then."""
    results, errors = [], []

    def make():
        try:
            results.append(call(*arguments))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if errors:
        raise errors[0]
    if not results:
        raise Failure(f"libvirt's daemon has not answered '{call.__name__}' for {TIMEOUT} s; restart it")
    return results[0]


class Connection:
    """To the libvirt of this host; LIBVIRT_DEFAULT_URI and libvirt.conf say which, as for virsh."""

    def __init__(self):
        if libvirtError is None:
            raise Failure(f"{sys.executable} has no module libvirt; install python3-libvirt")
        libvirt.registerErrorHandler(lambda *_: None, None)  # else they are printed as well
        self.open()

    def open(self):
        try:
            self.libvirt = answer(libvirt.open, None)
            self.uri = answer(self.libvirt.getURI)
        except libvirtError as error:
            raise Failure(f"libvirt cannot be reached: {error}; 'virsh uri' shows where it is looked for")

    @property
    def is_local_system(self):
        return self.uri == "qemu:///system"

    @property
    def is_session(self):
        """That of the user who runs this, whose QEMU it runs as this user."""
        return self.uri == "qemu:///session" and os.geteuid() != 0

    def directories(self):
        """Of the process ids and of the logs of QEMU."""
        if not self.is_session:
            return f"{host.RUN}/libvirt/qemu", f"{host.LOG}/libvirt/qemu"
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        run = os.environ.get("XDG_RUNTIME_DIR") or cache
        return f"{run}/libvirt/qemu/run", f"{cache}/libvirt/qemu/log"

    def version(self):
        """The version of libvirt, such as (11, 3)."""
        number = answer(self.libvirt.getLibVersion)
        return number // 1000000, number // 1000 % 1000

    def domain(self, name):
        """The domain of this name, UUID or id."""
        for look_up in (self.libvirt.lookupByName, self.libvirt.lookupByUUIDString):
            try:
                return Domain(answer(look_up, name))
            except libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
                    raise Failure(f"domain '{name}': {error}")
        try:
            return Domain(answer(self.libvirt.lookupByID, int(name)))
        except (ValueError, libvirtError):
            raise Failure(f"libvirt at {self.uri} has no domain '{name}'; 'virsh list --all' shows those it has")

    def domains(self):
        """All domains, sorted by name."""
        return sorted(map(Domain, answer(self.libvirt.listAllDomains)), key=lambda domain: domain.name)

    def define(self, text):
        """Gives the domain that the XML names this configuration."""
        try:
            return Domain(answer(self.libvirt.defineXML, text))
        except libvirtError as error:
            raise Failure(f"libvirt refuses the XML: {error}")


class Domain:
    """A domain of libvirt."""

    def __init__(self, domain):
        self.libvirt = domain
        self.name, self.uuid = domain.name(), domain.UUIDString()
        self.is_active, self.is_persistent = bool(answer(domain.isActive)), bool(answer(domain.isPersistent))

    def configuration(self):
        """The XML that the next start takes. Without the passwords in it they would be lost with the next define."""
        return answer(self.libvirt.XMLDesc, libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)

    def running(self):
        """The XML of a domain that runs; its configuration where it does not."""
        return answer(self.libvirt.XMLDesc, 0)

    def has_saved_state(self):
        return bool(answer(self.libvirt.hasManagedSaveImage, 0))
