"""Reading Dockerfiles as the builder reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.imagelint.dockerfile import Dockerfile, parse
from envcheck.imagelint.shell import commands_of
from envcheck.imagelint.source import UnreadableError


def commands(parsed: Dockerfile, stage: int = -1) -> list[tuple[str, int]]:
    """Return the commands of RUN instructions, each with its line."""
    chosen = parsed.stages[stage]
    return [
        (command.text, command.line)
        for instruction, variables in zip(chosen.instructions, chosen.variables, strict=False)
        if instruction.name == "RUN"
        for command in commands_of(instruction, variables)
    ]


def test_a_continued_run_keeps_the_line_of_each_command() -> None:
    parsed = parse("FROM a\nRUN apt-get update \\\n  # why\n\n  && pip install torch \\\n     numpy ; make -C /x\n")
    assert commands(parsed) == [("apt-get update", 2), ("pip install torch numpy", 5), ("make -C /x", 6)]


def test_windows_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    assert commands(parse("FROM a\r\nRUN x \\\r\n && y\r\n")) == [("x", 2), ("y", 3)]


def test_the_escape_directive_continues_lines_with_a_backtick() -> None:
    parsed = parse("# escape=`\nFROM a\nRUN dir C:\\ `\n  && b\n")
    assert [line for _, line in commands(parsed)] == [3, 4]


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert commands(parse("# hello\n# escape=`\nFROM a\nRUN a \\\n && b\n")) == [("a", 4), ("b", 5)]


def test_the_commands_of_a_here_document_keep_their_lines() -> None:
    parsed = parse("FROM a\nRUN <<EOF\nset -e\npip install torch \\\n  numpy\nEOF\nRUN z\n")
    assert commands(parsed) == [("set -e", 3), ("pip install torch numpy", 4), ("z", 7)]


def test_a_here_document_for_python_holds_no_shell_commands() -> None:
    assert commands(parse("FROM a\nRUN python3 <<EOF\nimport torch\nEOF\n")) == [("python3", 2)]


def test_a_file_written_by_a_here_document_is_not_read_as_instructions() -> None:
    parsed = parse("FROM a\nCOPY <<-'END' /x.sh\n\t#!/bin/sh\n\tpip install torch\n\tEND\nCMD x\n")
    assert [instruction.name for instruction in parsed.stages[0].instructions] == ["COPY", "CMD"]
    assert parsed.stages[0].instructions[0].heredocs[0].text == "#!/bin/sh\npip install torch"


def test_the_json_form_is_one_command_and_a_shell_in_it_is_read() -> None:
    parsed = parse('FROM a\nRUN ["pip", "install", "torch"]\nRUN ["bash", "-c", "a && b"]\n')
    assert commands(parsed) == [("pip install torch", 2), ("a", 3), ("b", 3)]


def test_arguments_before_from_choose_the_base_and_are_unknown_in_the_stage_until_named() -> None:
    parsed = parse("ARG V=12.4.1\nFROM nvidia/cuda:${V}-base\nRUN echo $V\nARG V\nRUN echo $V\n")
    assert parsed.stages[0].image == "nvidia/cuda:12.4.1-base"
    assert commands(parsed) == [("echo $V", 3), ("echo 12.4.1", 5)]


def test_a_build_argument_takes_the_place_of_the_default() -> None:
    assert parse("ARG V=1\nFROM a:$V\n", {"V": "2"}).stages[0].image == "a:2"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "x"),
        ("$A-y", "x-y"),
        ("${B:-d}", "d"),
        ("${A:+set}", "set"),
        ("${B:+set}", ""),
        (r"\$A", "$A"),
        ("'a b'", "a b"),
        ('"${A} z"', "x z"),
        ("$UNKNOWN", "$UNKNOWN"),
        ("${A%x}", "${A%x}"),
    ],
)
def test_variables_are_replaced_as_the_builder_replaces_them(written: str, value: str) -> None:
    assert parse(f"FROM a\nENV A=x\nENV V={written}\n").stages[0].environment["V"].value == value


def test_env_takes_both_forms_and_several_names_on_several_lines() -> None:
    found = parse("FROM a\nENV OLD a b\nENV A=1 \\\n    B=2\n").stages[0].environment
    assert {name: (variable.value, variable.line) for name, variable in found.items()} == {
        "OLD": ("a b", 2),
        "A": ("1", 3),
        "B": ("2", 4),
    }


def test_a_stage_built_from_another_has_its_base_and_its_variables() -> None:
    parsed = parse("FROM python:3.11 AS Base\nENV A=1\nFROM base\nRUN b\n")
    assert parsed.stages[1].base == "python:3.11"
    assert parsed.stages[1].environment["A"].value == "1"
    assert [stage.index for stage in parsed.stages[1].lineage] == [0, 1]


def test_a_stage_that_has_the_name_of_its_own_image_is_no_circle() -> None:
    assert parse("FROM debian AS debian\nRUN a\n").stages[0].parent is None


def test_what_onbuild_does_is_not_done_here() -> None:
    parsed = parse("FROM a\nONBUILD RUN pip install x\n")
    assert parsed.stages[0].instructions[0].onbuild
    assert list(parsed.stages[0].walk()) == []


def test_the_value_of_a_variable_set_in_the_shell_is_known_to_later_commands() -> None:
    assert commands(parse("FROM a\nRUN V=1.2 && export W=3 && pip install x==$V.$W\n")) == [("pip install x==1.2.3", 2)]


def test_quoted_operators_and_substitutions_do_not_end_a_command() -> None:
    parsed = parse("FROM a\nRUN echo \"a && b\" 'c ; d' $(x | y) && z # end\n")
    assert [text for text, _ in commands(parsed)] == ["echo a && b c ; d $(x | y)", "z"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no FROM in it: not a Dockerfile"),
        ("RUN a\nFROM b\n", "line 1: RUN stands before the first FROM"),
        ("FROM a\nINSTALL b\n", "line 2: 'INSTALL' is no instruction of a Dockerfile"),
        ("FROM a\nRUN <<EOF\nx\n", "line 2: the here-document EOF has no end"),
        ("FROM a b c\n", "line 1: FROM takes an image and `AS name`, not 'a b c'"),
        ("FROM a\nONBUILD nothing\n", "line 2: ONBUILD takes an instruction"),
    ],
)
def test_what_is_no_dockerfile_is_named_in_one_line(text: str, sentence: str) -> None:
    with pytest.raises(UnreadableError) as error:
        parse(text)
    assert str(error.value) == sentence


PIECES = [
    "FROM a\n",
    "RUN ",
    "ENV A=",
    "\\\n",
    "<<EOF\n",
    "EOF\n",
    '"',
    "'",
    "$A",
    "${",
    "}",
    "[",
    "]",
    "&&",
    "\n",
    "#",
    "x",
    " ",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_no_text_makes_the_reader_break(pieces: list[str]) -> None:
    try:
        parsed = parse("FROM a\n" + "".join(pieces))
    except UnreadableError:
        return
    for number in range(len(parsed.stages)):
        commands(parsed, number)
