# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""Stands in for the module libvirt. In the directory $STUB_DOMAINS a domain is NAME.xml, its live XML NAME.live.xml while it
runs; NAME.transient makes it transient, NAME.saved gives it a saved state, 'refuse' has every define refused, 'ignore' has
it do nothing, 'silent' has the daemon give no answer."""

import os
import time
from pathlib import Path

from lxml import etree

VIR_DOMAIN_XML_SECURE, VIR_DOMAIN_XML_INACTIVE = 1, 2
VIR_ERR_INVALID_ARG, VIR_ERR_NO_DOMAIN, VIR_ERR_XML_ERROR = 8, 42, 27


class libvirtError(Exception):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code

    def get_error_code(self):
        return self.code


def registerErrorHandler(handler, context):
    pass


def directory():
    return Path(os.environ["STUB_DOMAINS"])


def normal(text):
    """The real one writes all XML in one form, too."""
    tree = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(tree, encoding="unicode", pretty_print=True)


class open:
    def __init__(self, uri):
        if (directory() / "silent").exists():
            time.sleep(60)
        if (directory() / "down").exists():
            raise libvirtError("Failed to connect socket", 38)

    def getURI(self):
        return os.environ.get("LIBVIRT_DEFAULT_URI", "qemu:///system")

    def getLibVersion(self):
        return 11003000

    def listAllDomains(self):
        return [virDomain(path.stem) for path in directory().glob("*.xml") if not path.stem.endswith(".live")]

    def find(self, what, name):
        for domain in self.listAllDomains():
            if what(domain) == name:
                return domain
        raise libvirtError(f"Domain not found: {name}", VIR_ERR_NO_DOMAIN)

    def lookupByName(self, name):
        return self.find(virDomain.name, name)

    def lookupByUUIDString(self, uuid):
        if uuid.count("-") != 4:
            raise libvirtError("invalid argument: uuidstr", VIR_ERR_INVALID_ARG)
        return self.find(virDomain.UUIDString, uuid)

    def lookupByID(self, number):
        raise libvirtError("Domain not found", VIR_ERR_NO_DOMAIN)

    def defineXML(self, text):
        if (directory() / "refuse").exists():
            raise libvirtError("XML error: refused", VIR_ERR_XML_ERROR)
        name = etree.fromstring(text).findtext("name")
        if not (directory() / "ignore").exists():
            (directory() / f"{name}.xml").write_text(normal(text))
        return virDomain(name)


class virDomain:
    def __init__(self, name):
        self.stem = name

    def file(self, suffix):
        return directory() / f"{self.stem}.{suffix}"

    def name(self):
        return self.stem

    def UUIDString(self):
        return etree.parse(str(self.file("xml"))).findtext("uuid")

    def isActive(self):
        return self.file("live.xml").exists()

    def isPersistent(self):
        return not self.file("transient").exists()

    def hasManagedSaveImage(self, flags):
        return self.file("saved").exists()

    def XMLDesc(self, flags):
        live = self.isActive() and not flags & VIR_DOMAIN_XML_INACTIVE
        tree = etree.fromstring(self.file("live.xml" if live else "xml").read_text())
        if not flags & VIR_DOMAIN_XML_SECURE:
            for element in tree.iter("graphics"):
                element.attrib.pop("passwd", None)
        return normal(etree.tostring(tree))
