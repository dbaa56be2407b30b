"""The commands of a RUN instruction: simple commands, each word with the line that it stands on.

This is no shell: it finds the words of commands well enough to see what is installed. What a variable or a
substitution would give is known only where the Dockerfile sets it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from envcheck.imagelint.dockerfile import Instruction, Variable, replaced

_OPERATORS = frozenset({"&&", "||", ";", "|", "&", "\n", "(", ")", "{", "}", "!", "|&", ";;"})
_KEYWORDS = frozenset({"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "time", "esac"})
_PREFIXES = frozenset({"sudo", "exec", "command", "nice", "nohup", "eatmydata", "time", "xargs"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<blank>[ \t\r]+)|(?P<comment>(?<![^\s;&|()])#[^\n]*)"
    r"|(?P<operator>&&|\|\||\|&|;;|[;|&\n()])"
    r"|(?P<word>(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|\\.|[^\s;&|()\"'`\\])+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh"})


class Word(msgspec.Struct, frozen=True):
    """A word of a command: its text without quotes, and its line."""

    text: str
    line: int


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A simple command.

    Attributes:
        words: the program and its arguments.
        settings: variables set for it alone (`PIP_NO_CACHE_DIR=1 pip …`).
        line: of its first word.
        end_line: of its last word.
    """

    words: list[Word]
    settings: dict[str, str]
    line: int
    end_line: int

    @property
    def program(self) -> str:
        """The program without its folder: "pip" of "/opt/venv/bin/pip"."""
        return self.words[0].text.rsplit("/", 1)[-1] if self.words else ""

    @property
    def text(self) -> str:
        """The command on one line, for evidence."""
        return " ".join(word.text for word in self.words)


def commands_of(instruction: Instruction, known: Mapping[str, Variable]) -> list[Command]:
    """Return the commands that a RUN, CMD or ENTRYPOINT carries out.

    Args:
        instruction: in shell form, JSON form, or with a here-document that a shell reads.
        known: variables of the stage before it.
    """
    words = instruction.words
    if words is not None:
        return list(_of_words(words, instruction, known))
    text = (
        re.split(r"(?<![<\w])<<-?[\"']?[A-Za-z_]", instruction.text, maxsplit=1)[0]
        if instruction.heredocs
        else (instruction.text)
    )
    found = list(commands(text, instruction.line_at, known))
    reader = text.split()[:1]
    if instruction.heredocs and (not reader or reader[0].rsplit("/", 1)[-1] in SHELLS):
        for heredoc in instruction.heredocs:
            found += commands(heredoc.text, _line_counter(heredoc.text, heredoc.line), known)
    return found


def _of_words(words: list[str], instruction: Instruction, known: Mapping[str, Variable]) -> Iterator[Command]:
    line = instruction.line
    for position, word in enumerate(words[:-1]):
        if position and word in {"-c", "-lc", "-ec", "-exc", "-euxc"} and words[0].rsplit("/", 1)[-1] in SHELLS:
            yield from commands(words[position + 1], lambda _: line, known)
            return
    if words:
        described = [Word(word, line) for word in words]
        yield Command(words=described, settings={}, line=line, end_line=instruction.end_line)


def _line_counter(text: str, first: int) -> Callable[[int], int]:
    return lambda offset: first + text.count("\n", 0, offset)


def commands(text: str, line_at: Callable[[int], int], known: Mapping[str, Variable]) -> Iterator[Command]:
    """Take shell text apart into simple commands.

    Args:
        text: what the shell reads.
        line_at: gives the line of an offset.
        known: variables with values.
    """
    local = dict(known)
    current: list[Word] = []
    # Two blanks for a continued line: places in the text stay what they are.
    for match in _TOKEN.finditer(text.replace("\\\n", "  ")):
        if match["operator"]:
            yield from _simple(current, local)
            current = []
        elif match["word"]:
            line = line_at(match.start())
            current.append(Word(_plain(match["word"], local), line))
    yield from _simple(current, local)


def _plain(word: str, known: Mapping[str, Variable]) -> str:
    """Return a word without quotes, variables replaced outside single quotes."""
    parts = []
    for match in re.finditer(r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'|\\(.)|([^\"'\\]+)|(.)", word, re.DOTALL):
        if match[2] is not None:
            parts.append(match[2])
        elif match[1] is not None:
            parts.append(re.sub(r"\\([$`\"\\])", r"\1", replaced(match[1], known)))
        elif match[3] is not None:
            parts.append(match[3])
        else:
            parts.append(replaced(match[4] or match[5], known))
    return "".join(parts)


def _simple(words: list[Word], known: dict[str, Variable]) -> Iterator[Command]:
    """Leave out keywords, prefixes and assignments; what `export` or a lone assignment sets is known from then on."""
    settings: dict[str, str] = {}
    position = 0
    while position < len(words):
        text = words[position].text
        assignment = _ASSIGNMENT.fullmatch(text)
        if assignment:
            settings[assignment[1]] = assignment[2]
        elif text not in _KEYWORDS | _OPERATORS | _PREFIXES and not (position and text == "-E"):
            break
        position += 1
    rest = words[position:]
    if rest and rest[0].text == "export":
        settings = {m[1]: m[2] for word in rest[1:] if (m := _ASSIGNMENT.fullmatch(word.text))}
        rest = []
    if not rest:
        known.update({name: Variable(value, words[0].line) for name, value in settings.items()})
        return
    yield Command(words=rest, settings=settings, line=rest[0].line, end_line=rest[-1].line)
