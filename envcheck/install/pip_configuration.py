"""What the user's pip is configured with, so that other installers look in the same places.

Sources: pip's documentation, "Configuration" (files, order, environment variables); uv's documentation, "Environment
variables" and "Compatibility with pip".
"""

from __future__ import annotations

import configparser
import os
import re
import sys

import msgspec

from envcheck.system import System

LISTS = {"extra-index-url", "find-links", "trusted-host", "constraint"}
"""Keys that hold several values, divided by blanks or line ends."""

KEYS = {"index-url", "no-index", "cert", "client-cert", "proxy", "timeout", "default-timeout", "retries", *LISTS}

TRUE = {"1", "true", "yes", "on", "y", "t"}

SECTIONS = ("global", "install")
"""Sections that `pip install` reads, the weaker first."""


class PipConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Where pip looks, and how it gets there.

    Attributes:
        index_url: the main index; empty = the public one.
        extra_index_urls: further indexes.
        find_links: folders and pages with wheels.
        no_index: no index is asked at all.
        cert: file with the certificates to trust.
        client_cert: file with the user's own certificate and key.
        proxy: address of a proxy.
        trusted_hosts: hosts whose certificate is not checked.
        constraints: files that limit versions.
        timeout: seconds of silence after which a connection is given up; empty = the installer's default.
        retries: how often it is tried again; empty = the installer's default.
        sources: key → where its value was read.
    """

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    trusted_hosts: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    timeout: str = ""
    retries: str = ""
    sources: dict[str, str] = {}


def read(system: System) -> PipConfiguration:
    """Return what pip would read; a file that cannot be parsed is passed over, as it is none of ours to judge."""
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    for path in files(system):
        for key, value in _of_file(system, path).items():
            values[key], sources[key] = value, path
    for key in sorted(KEYS):
        variable = "PIP_" + key.upper().replace("-", "_")
        setting = system.getenv(variable)
        if setting:
            values[key], sources[key] = setting, variable
    lists = {key: tuple(values.get(key, "").split()) for key in LISTS}
    return PipConfiguration(
        index_url=values.get("index-url", ""),
        extra_index_urls=lists["extra-index-url"],
        find_links=lists["find-links"],
        no_index=values.get("no-index", "").lower() in TRUE,
        cert=values.get("cert", ""),
        client_cert=values.get("client-cert", ""),
        proxy=values.get("proxy", ""),
        trusted_hosts=lists["trusted-host"],
        constraints=lists["constraint"],
        timeout=values.get("timeout", values.get("default-timeout", "")),
        retries=values.get("retries", ""),
        sources=sources,
    )


def files(system: System) -> list[str]:
    """Return the configuration files of pip in the order in which it reads them; a later one wins."""
    named = system.getenv("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    found = [*_of_the_machine(system), *_of_the_user(system)]
    active = system.getenv("VIRTUAL_ENV")
    if active:
        found.append(os.path.join(active, _name()))  # noqa: PTH118
    return [*found, *([named] if named else [])]


def _name() -> str:
    return "pip.ini" if sys.platform == "win32" else "pip.conf"


def _of_the_machine(system: System) -> list[str]:
    if sys.platform == "win32":
        return [os.path.join(system.getenv("ProgramData") or r"C:\ProgramData", "pip", _name())]  # noqa: PTH118
    if sys.platform == "darwin":
        return ["/Library/Application Support/pip/pip.conf"]
    folders = [folder for folder in (system.getenv("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if folder]
    return [*(f"{folder}/pip/pip.conf" for folder in reversed(folders)), "/etc/pip.conf"]


def _of_the_user(system: System) -> list[str]:
    home = system.ask("home") or ""
    if sys.platform == "win32":
        roaming = system.getenv("APPDATA") or os.path.join(home, "AppData", "Roaming")  # noqa: PTH118
        return [os.path.join(home, "pip", _name()), os.path.join(roaming, "pip", _name())]  # noqa: PTH118
    library = f"{home}/Library/Application Support/pip"
    if sys.platform == "darwin" and system.status(library).kind == "folder":
        return [f"{home}/.pip/pip.conf", f"{library}/pip.conf"]
    configuration = system.getenv("XDG_CONFIG_HOME") or f"{home}/.config"
    return [f"{home}/.pip/pip.conf", f"{configuration}/pip/pip.conf"]


def _of_file(system: System, path: str) -> dict[str, str]:
    reading = system.read(path)
    if reading.outcome != "ok":
        return {}
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(reading.text)
    except configparser.Error:
        return {}
    found: dict[str, str] = {}
    for section in SECTIONS:
        if parser.has_section(section):
            pairs = parser.items(section)
            found |= {key.replace("_", "-"): value.strip() for key, value in pairs if key.replace("_", "-") in KEYS}
    return found


def local_folders(configuration: PipConfiguration) -> list[str]:
    """Return the folders of this machine among the places with wheels."""
    folders = []
    for place in configuration.find_links:
        path = re.sub(r"^file:(//(localhost)?)?(?=/)", "", place)
        if "://" not in path:
            folders.append(os.path.expanduser(path))  # noqa: PTH111 - a text goes to the installer
    return folders


def uv_variables(configuration: PipConfiguration, system: System) -> dict[str, str]:
    """Return environment variables that make uv look where pip looks; what is set for uv itself wins.

    pip asks all indexes and takes the best version; uv does so with the strategy `unsafe-best-match`, which is set only
    where the user has configured several indexes.
    """
    wanted = {
        "UV_DEFAULT_INDEX": configuration.index_url,
        "UV_INDEX": " ".join(configuration.extra_index_urls),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if configuration.extra_index_urls else "",
        "UV_FIND_LINKS": ",".join(configuration.find_links),
        "UV_NO_INDEX": "1" if configuration.no_index else "",
        "SSL_CERT_FILE": configuration.cert,
        "SSL_CLIENT_CERT": configuration.client_cert,
        "HTTPS_PROXY": configuration.proxy,
        "HTTP_PROXY": configuration.proxy,
        "UV_INSECURE_HOST": " ".join(configuration.trusted_hosts),
        "UV_CONSTRAINT": " ".join(configuration.constraints),
        "UV_HTTP_TIMEOUT": configuration.timeout if configuration.timeout.isdigit() else "",
        "UV_HTTP_RETRIES": configuration.retries if configuration.retries.isdigit() else "",
    }
    synonyms = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
    return {
        name: value
        for name, value in wanted.items()
        if value and not system.getenv(name) and not system.getenv(synonyms.get(name, name))
    }


def masked(text: str) -> str:
    """Return text with the passwords in addresses masked."""
    return re.sub(r"(://[^/\s:@]*):[^/\s@]+@", r"\1:****@", text)
