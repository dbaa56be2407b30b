"""YAML with line numbers: each value knows where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import yaml

from envcheck.imagelint.source import UnreadableError

_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_LONGEST_MERGE = 100


class Scalar(msgspec.Struct, frozen=True):
    """A value: its text as it stands, whether it was quoted, and its line."""

    text: str
    quoted: bool
    line: int

    @property
    def end_line(self) -> int:
        """Its line."""
        return self.line


class Sequence(msgspec.Struct, frozen=True):
    """A list and its lines."""

    items: list[Node]
    line: int
    end_line: int


class Mapping(msgspec.Struct, frozen=True):
    """A mapping: values by key, the line of each key, and the lines of the whole."""

    values: dict[str, Node]
    key_lines: dict[str, int]
    line: int
    end_line: int

    def line_of(self, key: str) -> int:
        """Return the line of a key; that of the mapping where it has none."""
        return self.key_lines.get(key, self.line)


Node: TypeAlias = Scalar | Sequence | Mapping


def documents(text: str) -> list[Node]:
    """Return the documents of a YAML text, aliases and merge keys (`<<`) resolved; empty documents are left out.

    Raises:
        UnreadableError: it is no YAML, or the template of some.
    """
    try:
        return [_node(node, {}) for node in yaml.compose_all(text, Loader=_Loader) if node is not None]
    except yaml.MarkedYAMLError as error:
        if _TEMPLATE.search(text):
            raise UnreadableError(
                "a template, not YAML yet: render it first (helm template . | envcheck image lint -)"
            ) from error
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise UnreadableError(f"{where}broken YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UnreadableError(f"broken YAML: {' '.join(str(error).split())[:160]}") from error


# libyaml's parser, where PyYAML was built with it, takes a tenth of the time; only nodes are used, no value is made.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _node(node: yaml.Node, known: dict[int, Node]) -> Node:
    if id(node) in known:
        return known[id(node)]
    line = node.start_mark.line + 1
    found: Node
    if isinstance(node, yaml.MappingNode):
        found = Mapping({}, {}, line, line)
        known[id(node)] = found
        _fill(found, node, known)
        last = max([line, *(value.end_line for value in found.values.values() if value.line >= line)])
        found = msgspec.structs.replace(found, end_line=last)
    elif isinstance(node, yaml.SequenceNode):
        items = [_node(item, known) for item in node.value]
        found = Sequence(items, line, max([line, *(item.end_line for item in items)]))
    else:
        text = str(node.value)
        found = Scalar(text, getattr(node, "style", None) in {"'", '"'}, line)
    known[id(node)] = found
    return found


def _fill(found: Mapping, node: yaml.MappingNode, known: dict[int, Node]) -> None:
    """Put keys and values into a mapping; what `<<` brings never hides a key of its own."""
    merged: list[yaml.Node] = []
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if name == "<<":
            merged += value.value[:_LONGEST_MERGE] if isinstance(value, yaml.SequenceNode) else [value]
        else:
            found.values[name] = _node(value, known)
            found.key_lines[name] = key.start_mark.line + 1
    for other in merged:
        brought = _node(other, known)
        if isinstance(brought, Mapping):
            for name, value in brought.values.items():
                if name not in found.values:
                    found.values[name] = value
                    found.key_lines[name] = brought.line_of(name)


def at(node: Node | None, *path: str) -> Node | None:
    """Return what stands under keys, one after another; None where a key is not there."""
    for key in path:
        node = node.values.get(key) if isinstance(node, Mapping) else None
    return node


def text_at(node: Node | None, *path: str) -> str | None:
    """Return a value's text under keys; None where there is none, or it is null."""
    found = at(node, *path)
    if not isinstance(found, Scalar) or (not found.quoted and found.text in {"", "~", "null"}):
        return None
    return found.text


def items(node: Node | None) -> list[Node]:
    """Return the items of a list; empty where it is none."""
    return node.items if isinstance(node, Sequence) else []


def words(node: Node | None) -> list[str]:
    """Return the values of a list of plain values."""
    return [item.text for item in items(node) if isinstance(item, Scalar)]


def mappings(node: Node | None) -> Iterator[Mapping]:
    """Go through all mappings of a document, outer ones first; each once, however often it is referred to."""
    waiting: list[Node] = [] if node is None else [node]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, Mapping):
            yield current
            waiting += current.values.values()
        elif isinstance(current, Sequence):
            waiting += current.items
