"""Dockerfiles: instructions with their lines, stages, and variables replaced as the builder replaces them.

Source of the grammar: Docker's documentation, "Dockerfile reference" (parser directives, escape, here-documents,
JSON form, environment replacement, scope of ARG).
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping

import msgspec

from envcheck.imagelint.source import UnreadableError

INSTRUCTIONS = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
_DIRECTIVE = re.compile(r"^\s*#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.*?)\s*$")
_HEREDOC = re.compile(r"(?<![<\w])<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_.]*)\2(?=\s|$)")
_TAKES_HEREDOC = frozenset({"ADD", "COPY", "RUN"})
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S+))?\s*")
_PREDEFINED = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}
    | {"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"}
)


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document of an instruction.

    Attributes:
        text: what stands in it.
        line: the first line of that text.
        literal: whether its delimiter is quoted, so that nothing is replaced.
    """

    text: str
    line: int
    literal: bool


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction.

    Attributes:
        name: in capitals: "RUN".
        text: what follows the name and the flags, joined to one line, comments left out, variables as they stand.
        line: its first line.
        end_line: its last line, here-documents included.
        flags: `--platform=…`, `--from=…` and others, by name.
        starts: offsets in `text` at which lines begin, ascending.
        lines: the line of each of `starts`.
        heredocs: its here-documents.
        onbuild: whether it is run by images built from this one only.
    """

    name: str
    text: str
    line: int
    end_line: int
    flags: dict[str, str]
    starts: list[int]
    lines: list[int]
    heredocs: list[Heredoc] = []
    onbuild: bool = False

    def line_at(self, offset: int) -> int:
        """Return the line on which a character of `text` stands."""
        return self.lines[max(0, bisect_right(self.starts, offset) - 1)]

    @property
    def words(self) -> list[str] | None:
        """The words of the JSON form (`["sh", "-c", "…"]`), or None where it is the shell form."""
        text = self.text.strip()
        if not text.startswith("["):
            return None
        try:
            found = json.loads(text)
        except ValueError:
            return None
        return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


class Variable(msgspec.Struct, frozen=True):
    """A variable that an ENV or ARG sets: its value, and the line of the instruction."""

    value: str | None
    line: int


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage.

    Attributes:
        index: from 0.
        name: after AS, in lower case; empty where it has none.
        image: what it is built from, variables replaced; the name of a stage where `parent` is given.
        platform: of `--platform`, variables replaced; empty where it has none.
        line: of its FROM.
        instructions: all that follow FROM.
        variables: ARG and ENV before each instruction, in step with `instructions`, and once more at the end.
        environment: what ENV sets in the image, those of parents included.
        parent: the stage that it is built from.
    """

    index: int
    name: str
    image: str
    platform: str
    line: int
    instructions: list[Instruction]
    variables: list[dict[str, Variable]]
    environment: dict[str, Variable]
    parent: Stage | None = None

    @property
    def lineage(self) -> list[Stage]:
        """The stages that it is built from, the first one first, and itself."""
        return [*(self.parent.lineage if self.parent else []), self]

    @property
    def base(self) -> str:
        """The image that the whole lineage starts from."""
        return self.lineage[0].image

    def walk(self) -> Iterator[tuple[Stage, Instruction, dict[str, Variable]]]:
        """Go through the instructions of the whole lineage, each with its stage and the variables before it."""
        for stage in self.lineage:
            for instruction, variables in zip(stage.instructions, stage.variables, strict=False):
                if not instruction.onbuild:
                    yield stage, instruction, variables


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile.

    Attributes:
        stages: in order; the last one is the image unless a target is chosen.
        arguments: ARG before the first FROM.
    """

    stages: list[Stage]
    arguments: dict[str, Variable]

    def stage(self, name: str) -> Stage | None:
        """Return a stage by its name or number."""
        wanted = name.lower()
        return next((stage for stage in self.stages if wanted in {stage.name, str(stage.index)} - {""}), None)


def parse(text: str, build_arguments: Mapping[str, str] | None = None) -> Dockerfile:
    """Take a Dockerfile apart.

    Args:
        text: the whole file.
        build_arguments: values given with `--build-arg`, or by a compose file.

    Raises:
        UnreadableError: it is none: an unknown instruction, nothing before FROM, no end of a here-document.
    """
    given = build_arguments or {}
    arguments: dict[str, Variable] = {}
    stages: list[Stage] = []
    for instruction in instructions(text):
        if instruction.name == "FROM":
            stages.append(_opened(instruction, stages, arguments))
        elif stages:
            _follow(stages[-1], instruction, arguments, given)
        elif instruction.name == "ARG":
            arguments.update(_arguments(instruction, arguments, given))
        else:
            raise UnreadableError(f"line {instruction.line}: {instruction.name} stands before the first FROM")
    if not stages:
        raise UnreadableError("no FROM in it: not a Dockerfile")
    return Dockerfile(stages=stages, arguments=arguments)


def _opened(instruction: Instruction, stages: list[Stage], arguments: dict[str, Variable]) -> Stage:
    match = re.fullmatch(r"(\S+)(?:\s+AS\s+(\S+))?", instruction.text.strip(), re.IGNORECASE)
    if match is None:
        raise UnreadableError(
            f"line {instruction.line}: FROM takes an image and `AS name`, not {instruction.text.strip()!r}"
        )
    known = {**_of_platform(), **arguments}
    image = replaced(match[1], known)
    parent = next((stage for stage in reversed(stages) if stage.name and stage.name == image.lower()), None)
    inherited = dict(parent.environment) if parent else {}
    return Stage(
        index=len(stages),
        name=(match[2] or "").lower(),
        image=image,
        platform=replaced(instruction.flags.get("platform", ""), known),
        line=instruction.line,
        instructions=[],
        variables=[dict(inherited)],
        environment=inherited,
        parent=parent,
    )


def _of_platform() -> dict[str, Variable]:
    """Return the arguments that the builder sets itself; their values are not known here."""
    return {
        f"{side}{part}": Variable(None, 0)
        for side in ("TARGET", "BUILD")
        for part in ("PLATFORM", "OS", "ARCH", "VARIANT")
    }


def _follow(stage: Stage, instruction: Instruction, arguments: dict[str, Variable], given: Mapping[str, str]) -> None:
    """Take an instruction into a stage: its lists grow, and the variables after it are noted."""
    before = stage.variables[-1]
    after = dict(before)
    if not instruction.onbuild:
        if instruction.name == "ENV":
            settings = _environment(instruction, before)
            after.update(settings)
            stage.environment.update(settings)
        elif instruction.name == "ARG":
            found = _arguments(instruction, {**arguments, **before}, given, globals_=arguments)
            # An ENV hides an ARG of the same name.
            after.update({name: value for name, value in found.items() if name not in stage.environment})
    stage.instructions.append(instruction)
    stage.variables.append(after)


def _arguments(
    instruction: Instruction,
    known: Mapping[str, Variable],
    given: Mapping[str, str],
    globals_: Mapping[str, Variable] | None = None,
) -> dict[str, Variable]:
    found = {}
    for word in _split(instruction.text):
        name, has_default, value = word.partition("=")
        if name in given:
            found[name] = Variable(given[name], instruction.line)
        elif has_default:
            found[name] = Variable(unquoted(replaced(value, known)), instruction.line)
        elif globals_ and name in globals_:
            found[name] = globals_[name]
        elif name not in _PREDEFINED:
            found[name] = Variable(None, instruction.line)
    return found


def _environment(instruction: Instruction, known: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return what an ENV sets, in its form `NAME=VALUE …` or its old form `NAME VALUE`."""
    text = instruction.text.strip()
    words = _split(text)
    if words and "=" not in words[0]:
        name, _, value = text.partition(" ")
        return {name: Variable(unquoted(replaced(value.strip(), known)), instruction.line)}
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        line = instruction.line_at(max(0, instruction.text.find(word)))
        found[name] = Variable(unquoted(replaced(value, known)), line)
    return found


def _split(text: str) -> list[str]:
    """Split at blanks outside quotes; quotes stay, a backslash keeps the next character."""
    return [match[0] for match in re.finditer(r"(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.|[^\s\"'\\])+", text)]


def unquoted(value: str) -> str:
    """Return a value without its quotes and without the backslashes that kept characters."""
    return re.sub(
        r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'|\\(.)",
        lambda m: re.sub(r"\\(.)", r"\1", m[1]) if m[1] is not None else m[2] if m[2] is not None else m[3],
        value,
    )


_REFERENCE = re.compile(
    r"(?P<kept>\\\$)|\$(?:\{(?P<braced>[A-Za-z_]\w*)(?:(?P<operator>:?[-+?]|##?|%%?|//?)(?P<word>[^{}]*))?\}"
    r"|(?P<plain>[A-Za-z_]\w*))"
)


def replaced(text: str, known: Mapping[str, Variable]) -> str:
    """Replace variables as the builder does; one whose value is not known stays as it stands.

    Known are `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+other}`; patterns (`${NAME#…}`) stay as they stand.
    """

    def value(match: re.Match[str]) -> str:
        if match["kept"]:
            return "$"
        name, operator = match["braced"] or match["plain"], match["operator"] or ""
        variable = known.get(name)
        content = variable.value if variable else None
        if operator.endswith("-"):
            missing = content is None or (operator == ":-" and not content)
            return replaced(match["word"], known) if missing else content or ""
        if operator.endswith("+"):
            present = bool(content) if operator == ":+" else variable is not None
            return replaced(match["word"], known) if present else ""
        if content is None or operator.strip("?:"):
            return match[0]
        return content

    return _REFERENCE.sub(value, text)


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile.

    Raises:
        UnreadableError: one is none that Docker knows, or a here-document has no end.
    """
    lines = re.split(r"\r\n|\n|\r", text)
    escape = _escape(lines)
    found = []
    number = 0
    while number < len(lines):
        line = lines[number]
        if not line.strip() or line.lstrip().startswith("#"):
            number += 1
            continue
        joined, starts, numbers, last = _joined(lines, number, escape)
        if not joined.strip():
            number = last + 1
            continue
        instruction, last = _instruction(joined, starts, numbers, lines, last)
        found.append(instruction)
        number = last + 1
    return found


def _escape(lines: list[str]) -> str:
    r"""Return the character that continues a line: `\`, or what a directive at the top says."""
    for line in lines:
        directive = _DIRECTIVE.match(line)
        if directive is None:
            break
        if directive[1].lower() == "escape" and directive[2] in {"\\", "`"}:
            return directive[2]
    return "\\"


def _joined(lines: list[str], number: int, escape: str) -> tuple[str, list[int], list[int], int]:
    """Join a logical line; comments and empty lines inside it are left out, as the builder leaves them out."""
    continues = re.compile(re.escape(escape) + r"[ \t]*$")
    joined = ""
    starts: list[int] = []
    numbers: list[int] = []
    last = number
    while number < len(lines):
        line = lines[number]
        inside = bool(starts)
        if inside and (not line.strip() or line.lstrip().startswith("#")):
            number += 1
            continue
        starts.append(len(joined))
        numbers.append(number + 1)
        last = number
        rest = continues.sub("", line)
        # A word never runs over the end of a line in real files, and a blank keeps words of two lines apart for us.
        joined += rest
        if rest == line:
            break
        joined += " "
        number += 1
    return joined, starts, numbers, last


def _instruction(
    joined: str, starts: list[int], numbers: list[int], lines: list[str], last: int
) -> tuple[Instruction, int]:
    match = re.match(r"\s*([A-Za-z]+)(?:\s+|$)", joined)
    name = match[1].upper() if match else ""
    if match is None or name not in INSTRUCTIONS:
        word = joined.split(None, 1)[0][:40]
        raise UnreadableError(f"line {numbers[0]}: {word!r} is no instruction of a Dockerfile")
    begin, onbuild = match.end(), False
    if name == "ONBUILD":
        inner = re.compile(r"([A-Za-z]+)(?:\s+|$)").match(joined, begin)
        if inner is None or inner[1].upper() not in INSTRUCTIONS:
            raise UnreadableError(f"line {numbers[0]}: ONBUILD takes an instruction")
        name, begin, onbuild = inner[1].upper(), inner.end(), True
    flags: dict[str, str] = {}
    while flag := _FLAG.match(joined, begin):
        # A RUN can have several mounts; they are kept one after another.
        flags[flag[1]] = f"{flags[flag[1]]} {flag[2]}" if flag[1] in flags else flag[2] or ""
        begin = flag.end()
    text = joined[begin:]
    heredocs, last = _heredocs(name, text, lines, last)
    described = Instruction(
        name=name,
        text=text,
        line=numbers[0],
        end_line=last + 1,
        flags=flags,
        starts=[max(0, start - begin) for start in starts],
        lines=numbers,
        heredocs=heredocs,
        onbuild=onbuild,
    )
    return described, last


def _heredocs(name: str, text: str, lines: list[str], last: int) -> tuple[list[Heredoc], int]:
    found = []
    for match in _HEREDOC.finditer(text) if name in _TAKES_HEREDOC else ():
        first = last + 1
        end = first
        while end < len(lines) and (lines[end].lstrip("\t") if match[1] else lines[end]) != match[3]:
            end += 1
        if end == len(lines):
            raise UnreadableError(f"line {last + 1}: the here-document {match[3]} has no end")
        body = [line.lstrip("\t") if match[1] else line for line in lines[first:end]]
        found.append(Heredoc("\n".join(body), first + 1, bool(match[2])))
        last = end
    return found, last
