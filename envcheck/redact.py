"""Take secrets, and people, out of what is shown, kept or sent.

Two levels.  `mask_secrets` takes out what opens a door: passwords in addresses, tokens, values of variables whose
names say that they are secret.  A `Redactor` also takes out what names a person or a machine: user and host names,
home folders, network and e-mail addresses; a recording is made with it.  Both may be applied twice with no effect,
and both keep the versions, paths and numbers on which a diagnosis rests.

Stand-ins are from the ranges that are reserved for documentation: 192.0.2.0/24 (RFC 5737), 2001:db8::/32 (RFC 3849),
00-00-5E-00-53-xx (RFC 7042), example.org (RFC 2606).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MASK = "***"

GIVEAWAY = (
    r"(?:API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SECRET|TOKEN(?!S|IZ)|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL"
    r"|(?<![A-Z])JWT|(?<![A-Z])AUTH(?!OR)|_KEY\b|_PASS\b|_PWD\b)"
)
"""What makes the name of a variable, a field or a parameter a secret's.

Patterns are text until they are used: compiling all of them takes longer than a quick examination may wait.
"""

LOOKS_SECRET = r"(?i)" + GIVEAWAY

# A password may hold an @ or, unescaped, a slash; a port and a path after it are no password.
USER_INFORMATION = (
    r"(?i)"
    r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://)"
    r"(?:(?!git@|\*\*\*@)[^\s/'\"<>\x00]{1,400}@|[^\s:/@'\"<>\x00]{1,200}:(?!\d+(?:/|\s|$))[^\s@'\"<>\x00]{1,400}@)"
)

AUTHORIZATION = (
    r"(?i)"
    r"(?P<head>\bauthorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token|digest)\s+)?|\bbearer\s+(?=[\w.~+/-]{16}))"
    r"[^\s'\",\x00]+"
)

ASSIGNMENT = (
    r"(?i)"
    r"(?<![A-Za-z0-9])(?P<name>[A-Za-z0-9_.-]{0,60}?" + GIVEAWAY + r"[A-Za-z0-9_]{0,30})"
    r"(?:(?P<equals>\\{0,4}['\"]?\s?=\s?)(?P<quote>\\{0,4}['\"]?)(?P<value>[^\s'\"\\&\x00]*)"
    r"|(?P<colon>\\{0,4}['\"]?\s{0,4}:\s{0,4})(?P<mark>\\{0,4}['\"]?)(?P<long>[^\s'\"\\,\x00]{8,}))"
)

QUOTED_ASSIGNMENT = (
    r"(?i)"
    r"(?<![A-Za-z0-9])(?P<name>[A-Za-z0-9_.-]{0,60}?" + GIVEAWAY + r"[A-Za-z0-9_]{0,30})"
    r"(?P<between>['\"]?\s?[=:]\s?)(?P<quote>['\"])(?P<value>[^'\"\n\x00]+)(?P=quote)"
)

IN_ENVIRON = (
    r"(?i)"
    r"(?P<head>\x00[A-Za-z0-9_]*?" + GIVEAWAY + r"[A-Za-z0-9_]*=)[^\x00]+"
)
"""As /proc/PID/environ writes variables."""

NETRC = (
    r"(?i)"
    r"(\blogin\s+)\S+(\s+password\s+)\S+"
)

FORMS = (
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|sk-[A-Za-z0-9_-]{20,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}"
    r"|AIza[0-9A-Za-z_-]{30,}|ya29\.[0-9A-Za-z_-]{20,}"
    r"|nvapi-[A-Za-z0-9_-]{20,}|dckr_pat_[A-Za-z0-9_-]{20,}|wandb_v1_[A-Za-z0-9_-]{20,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"
    r")"
)
"""Tokens that are known by their form, as their issuers document it."""

PRIVATE_KEY = (
    r"(?s)"
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?:(?!-----BEGIN).)*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)

SECRET_WORDS = ("key", "secret", "token", "passw", "passp", "_pass", "_pwd", "credential", "jwt", "auth")
FORM_WORDS = (
    *("hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "akia", "asia", "sk-", "xox", "npm_"),
    *("pypi-", "aiza", "ya29", "nvapi-", "dckr_pat_", "wandb_v1_", "eyj"),
)


def looks_secret(name: str) -> bool:
    """Tell whether the name of a variable or a field says that its value is secret, such as `HF_TOKEN`."""
    lowered = name.lower()
    return any(word in lowered for word in SECRET_WORDS) and re.search(LOOKS_SECRET, name) is not None


def mask_secrets(text: str) -> str:
    """Return the text with passwords, keys and tokens replaced by `***`."""
    lowered = text.lower()
    for words, pattern, stand_in in RULES:
        if any(word in lowered for word in words):
            text = re.sub(pattern, stand_in, text)
    return text


def _without_value(found: re.Match[str]) -> str:
    if found["equals"] is not None:
        value = f"{found['equals']}{found['quote']}{MASK if found['value'] else ''}"
    else:
        value = f"{found['colon']}{found['mark']}{MASK}"
    return found["name"] + value


RULES: tuple[tuple[tuple[str, ...], str, str | Callable[[re.Match[str]], str]], ...] = (
    (("private key-----",), PRIVATE_KEY, rf"\1{MASK}\2"),
    (("@",), USER_INFORMATION, rf"\g<scheme>{MASK}@"),
    (("authorization", "bearer"), AUTHORIZATION, rf"\g<head>{MASK}"),
    (("\x00",), IN_ENVIRON, rf"\g<head>{MASK}"),
    (SECRET_WORDS, QUOTED_ASSIGNMENT, rf"\g<name>\g<between>\g<quote>{MASK}\g<quote>"),
    (SECRET_WORDS, ASSIGNMENT, _without_value),
    (("login",), NETRC, rf"\1{MASK}\2{MASK}"),
    (FORM_WORDS, FORMS, MASK),
)
"""Words (in lower case) of which a text must hold one, the pattern that is then looked for, and its stand-in."""


def mask_values(variables: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables with secret ones masked by their name, and all others by their text."""
    return {name: MASK if value and looks_secret(name) else mask_secrets(value) for name, value in variables.items()}


_COMMON = (
    "admin administrator ai amd anaconda apple apptainer arch bin build cache centos cloud cluster colab "
    "conda config cpu cuda data debian default dev docker ec2-user etc fedora file files gpu guest home "
    "host intel jetson jovyan jupyter kernel lab lib linux local localhost mac machine main max memory "
    "min miniconda ml model models name node none notebook nvidia opc opt pi pip podman proc project "
    "public pytorch python ray rocky root run runner server service share shared shm site slurm src "
    "student sys system temp test tf tmp torch training ubuntu user users usr uv var venv vm vscode "
    "windows work worker workspace wsl "
)

COMMON_NAMES = frozenset(_COMMON.split())
"""Account and host names that name nobody, and that stand for something else in facts (`ubuntu` is a distribution)."""

KEPT_HOMES = frozenset({"", "/", "/root", "/home", "/nonexistent", "/tmp", "/usr", "/opt", "/var", "/mnt", "/data"})  # noqa: S108

HOME_OF_ANYONE = (
    r"(?P<parent>(?<![\w.-])/home/|(?<![\w.-])/Users/|[A-Za-z]:(?:\\{1,4}|/)Users(?:\\{1,4}|/))"
    r"(?!(?:Public|Shared|Default|All Users|linuxbrew)\b)"
    r"(?P<name>[^\\/\s:;,'\"<>|\x00()\[\]]+(?: [^\\/\s:;,'\"<>|\x00]+(?=\\))?)"
)

VERSION_BEFORE = (
    r"(?i)"
    r"(?:version|release|cuda|cudnn|cublas|curand|cusparse|cusolver|cufft|nvjitlink|cufile|nvtx|nccl|nvidia|driver"
    r"|kernel|\bcu1\d|[=<>~!]=|requires|wheel|tensorrt)[^\n]*$"
)
ADDRESS_BEFORE = (
    r"(?i)"
    r"(?:://|@|\[|\binet |addr\w*\W{1,4}|\bhosts?\w*\W{1,4}|\bip\w*\W{1,4}|peer\W|proxy\W{1,4}|gateway\W{1,4}"
    r"|server\W{1,4}|\b(?:from|to|via|src|connect\w*) |eth\w*:|\ben\w+:|\bib\w*:|\bbond\w*:)$"
)
ADDRESS_AFTER = r"(?::\d{1,5}\b|<\d|/\d{1,2}\b)"
IPV4 = r"(?<![\w.-])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\w)"
IPV6 = (
    r"(?i)"
    r"(?<![\w:.])(?!2001:0?db8:)(?:fe[89ab][0-9a-f]|f[cd][0-9a-f]{2}|[23][0-9a-f]{3})"
    r"(?=[0-9a-f:]*::|(?::[0-9a-f]{1,4}){7})(?::{1,2}[0-9a-f]{1,4}){1,7}(?:::)?(?:%\w+)?(?![\w:])"
)
MAC = (
    r"(?i)"
    r"(?<![\w:-])(?!00.00.5e.00.53)[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![\w:-])"
)
EMAIL = (
    r"(?<![\w.+/@-])(?!git@)[\w.+-]{1,64}@(?!example\.org\b)(?:[A-Za-z0-9-]{1,63}\.){1,5}(?!service\b|socket\b|timer\b|target\b)"
    r"[A-Za-z]{2,24}(?![\w@])"
)
NETWORK_MOUNT = r"( - (?:nfs4?|cifs|smb3|lustre|ceph|glusterfs|beegfs\w*|fuse\.sshfs) )\S+"


class Redactor:
    """Takes one user's and one machine's traces out of JSON-like values."""

    def __init__(self, user: str = "", hosts: Iterable[str] = (), homes: Iterable[str] = ()) -> None:
        """Say whose traces.

        Args:
            user: the account's name; names that everybody has (`root`, `ubuntu`) are kept, except as a home folder.
            hosts: names of the machine, short or with its domain.
            homes: the home folder, as it is written and with links resolved.
        """
        self._homes = [
            (re.compile(re.escape(home) + r"(?![\w.-])"), _home_for(home))
            for home in sorted(set(homes), key=len, reverse=True)
            if home.rstrip("/\\") not in KEPT_HOMES
        ]
        names = {host for name in hosts for host in (name, name.partition(".")[0])}
        self._words = [
            (_word(name), stand_in)
            for name, stand_in in [(user, "user"), *((host, "host") for host in sorted(names, key=len, reverse=True))]
            if len(name) > 2 and name.lower() not in COMMON_NAMES and not name.isdigit()  # noqa: PLR2004
        ]

    def __call__(self, value: Any) -> Any:  # noqa: ANN401 - JSON-like
        """Return the value with secrets and names replaced, in its keys too."""
        return self._redact(value, "")

    def _redact(self, value: Any, name: str) -> Any:  # noqa: ANN401 - JSON-like
        if isinstance(value, str):
            # The last word: a recording's key for a variable is `getenv NAME`.
            if value and name and looks_secret(name.rpartition(" ")[2]) and "/" not in name:
                return MASK
            return self.text(value, name)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._redact(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._redact(item, name) for item in value]
        return value

    def text(self, text: str, name: str = "") -> str:
        """Return a text with secrets and names replaced; `name` is that of the field that holds it."""
        # A stand-in may make its surroundings look like something else: go on until nothing changes.
        for _ in range(5):
            done = self._once(text, name)
            if done == text:
                break
            text = done
        return text

    def _once(self, text: str, name: str) -> str:
        text = mask_secrets(text)
        for home, stand_in in self._homes:
            text = home.sub(stand_in, text)
        text = re.sub(HOME_OF_ANYONE, r"\g<parent>user", text)
        text = re.sub(NETWORK_MOUNT, r"\1server:/export", text)
        text = re.sub(EMAIL, "user@example.org", text)
        text = re.sub(IPV6, "2001:db8::1", text)
        text = re.sub(MAC, "00:00:5e:00:53:01", text)
        text = re.sub(IPV4, lambda found: _address_or_version(found, name), text)
        for word, stand_in in self._words:
            text = word.sub(stand_in, text)
        return text


def _home_for(home: str) -> str:
    if re.match(r"[A-Za-z]:", home):
        # A function of re.sub would see the backslashes as escapes.
        return home[:2] + r"\\Users\\user"
    return "/Users/user" if home.startswith("/Users/") else "/home/user"


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)


def _address_or_version(found: re.Match[str], name: str) -> str:
    """Return an IPv4 address's stand-in; a version of four numbers, such as 8.9.7.29, stays as it is."""
    octets = [int(octet) for octet in found.groups()]
    harmless = octets[0] in {0, 127, 255} or octets[:3] == [192, 0, 2]
    if harmless or max(octets) > 255:  # noqa: PLR2004
        return found[0]
    before = found.string[max(0, found.start() - 48) : found.start()]
    before = before.rpartition("\n")[2]
    if re.search(ADDRESS_BEFORE, before[-24:]) or re.match(ADDRESS_AFTER, found.string[found.end() : found.end() + 8]):
        return "192.0.2.1"
    if re.search(VERSION_BEFORE, f"{name} {before}"):
        return found[0]
    return "192.0.2.1"


def this_machine() -> Redactor:
    """Return the redactor for the user and the machine that envcheck runs on."""
    import getpass  # noqa: PLC0415 - only where something is recorded
    import os  # noqa: PLC0415
    import socket  # noqa: PLC0415

    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # The account of a container's numeric user has no name.
        user = ""
    home = os.path.expanduser("~")  # noqa: PTH111 - no error where HOME is missing
    return Redactor(user=user, hosts=[socket.gethostname()], homes=[home, os.path.realpath(home)])


PROMPT = (
    r"^\W{0,4}(?:\([^)\n]{1,40}\)\s*)?\[?"
    r"(?P<pair>[A-Za-z_][\w.-]{0,31}@[A-Za-z0-9][\w.-]{0,62})(?=[:\s~\]])"
)
"""The beginning of a shell's prompt, such as `(env) alice@lab-12:~$` or `[alice@lab-12 ~]$`."""


SIGNS_OF_NAMES = r"/home/|Users[/\\]|@|\d+\.\d+\.\d+\.\d+|[0-9a-fA-F]{2}(?::[0-9a-fA-F]{0,4}){3}"


def redactor_of_paste(text: str) -> Callable[[Any], Any] | None:
    """Return what takes people and machines out of a report on pasted text; None where the text names none.

    Names of accounts are taken out of prompts and home folders alone: an account may be called `nvidia`.
    """
    if not re.search(SIGNS_OF_NAMES, text):
        return None
    pairs = {found["pair"] for found in re.finditer(PROMPT, text, re.MULTILINE)}
    ordinary = Redactor()

    def redact(value: Any) -> Any:  # noqa: ANN401 - JSON-like
        if isinstance(value, str):
            for pair in pairs:
                value = value.replace(pair, "user@host")
            return value
        if isinstance(value, Mapping):
            return {key: redact(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [redact(item) for item in value]
        return value

    return lambda value: ordinary(redact(value) if pairs else value)


def tidy(value: Any, home: str) -> Any:  # noqa: ANN401 - JSON-like
    """Return a JSON-like value in which the home folder is written `~`, for people to read; commands stay runnable."""
    if home.rstrip("/\\") in KEPT_HOMES - {"/root"}:
        return value
    pattern = re.compile(r"(?<![\w.~/-])" + re.escape(home.rstrip("/\\")) + r"(?=[/\\\s:,;'\")\]]|$)")
    return _tidied(value, pattern)


def _tidied(value: Any, pattern: re.Pattern[str]) -> Any:  # noqa: ANN401 - JSON-like
    if isinstance(value, str):
        return pattern.sub("~", value)
    if isinstance(value, Mapping):
        return {key: _tidied(item, pattern) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tidied(item, pattern) for item in value]
    return value
