"""What pasting does to text is undone before anything is recognised."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.triage import text as text_module
from envcheck.triage.text import lines_of, read_ends


def texts(content: str | bytes) -> list[str]:
    """Return the texts of the lines of a document."""
    raw = content.encode() if isinstance(content, str) else content
    return [line.text for line in lines_of("paste", raw)]


def test_colours_titles_and_control_characters_are_taken_off() -> None:
    assert texts("\x1b]0;title\x07\x1b[1;31mERROR\x1b[0m: no\x08 module\x00") == ["ERROR: no module"]
    assert texts("[31mERROR[0m: lost escapes") == ["ERROR: lost escapes"]


def test_a_quoted_issue_comment_reads_like_the_original_and_python_prompts_stay() -> None:
    assert texts("> $ python\n> > >>> import torch\n>>> import os") == ["$ python", ">>> import torch", ">>> import os"]


def test_code_fences_become_blank_lines_so_that_they_still_end_a_block() -> None:
    assert texts("```shell\nnvcc --version\n```") == ["", "nvcc --version", ""]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_that_windows_shells_write_is_read(encoding: str) -> None:
    assert texts("torch 2.1.0\r\nnumpy 1.26".encode(encoding)) == ["torch 2.1.0", "numpy 1.26"]


@pytest.mark.parametrize(
    "stamp",
    [
        "2024-01-02 03:04:05.678901: ",
        "2024-01-02T03:04:05.678901234Z ",
        "[2024-01-02 03:04:05,678] ",
        "[   12.345678] ",
        "[Tue Jan  2 03:04:05 2024] ",
        "Jan  2 03:04:05 node7 kernel: ",
        "Jan  2 03:04:05 node7 kernel: [   12.345678] ",
        "2024-01-02T03:04:05+0100 node7 kernel: ",
        "[rank0]: ",
        "[1,0]<stderr>: ",
        "(RayTrainWorker pid=123, ip=192.0.2.1) ",
        "trainer-1  | ",
    ],
)
def test_time_stamps_and_the_prefixes_of_launchers_are_taken_off(stamp: str) -> None:
    assert texts(f"{stamp}NVRM: a message") == ["NVRM: a message"]


def test_the_rows_of_an_nvidia_smi_table_stay_as_they_are() -> None:
    row = "| N/A   41C    P0    62W / 400W |   1024MiB / 40960MiB |      0%      Default |"
    assert texts(f"+{'-' * 78}+\n{row}\n+{'-' * 78}+")[1] == row


def test_a_line_that_the_terminal_broke_is_one_line_again() -> None:
    message = "RuntimeError: " + "a long message that no terminal of eighty columns shows in one piece, " * 3
    wrapped = "\n".join(message[start : start + 80] for start in range(0, len(message), 80))
    assert texts(f"$ python train.py\n{wrapped}\n$ ")[1] == message.rstrip()


def test_rows_of_one_listing_stay_apart_though_they_are_of_one_length() -> None:
    rows = [f"GPU {index}: NVIDIA A10 (UUID: GPU-0f0f0f0f-1111-2222-3333-44444444444{index})" for index in range(3)]
    assert texts("$ nvidia-smi -L\n" + "\n".join(rows))[1:] == rows


def test_line_numbers_are_those_of_the_pasted_file() -> None:
    lines = lines_of("log.txt", b"one\n\n[rank1]: three\rthree again\nfour")
    assert [(line.text, line.source) for line in lines] == [
        ("one", "log.txt:1"),
        ("", "log.txt:2"),
        ("three", "log.txt:3"),
        ("three again", "log.txt:3"),
        ("four", "log.txt:4"),
    ]


def test_a_container_log_and_an_exception_inside_json_are_unpacked() -> None:
    assert texts('{"log":"ImportError: no\\n","stream":"stderr"}') == ["ImportError: no"]
    packed = '"Traceback (most recent call last):\\n  File \\"a.py\\", line 1\\n    import torch\\nImportError: no"'
    assert texts(packed)[-1] == 'ImportError: no"'


def test_a_long_log_keeps_its_ends_and_the_lines_that_matter() -> None:
    log = [f"step {number}" for number in range(100_000)]
    log[50_000] = "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
    lines = lines_of("log", "\n".join(log).encode())
    assert len(lines) < 30_000
    assert [line.source for line in lines if "Xid" in line.text] == ["log:50001"]
    assert (lines[0].source, lines[-1].source) == ("log:1", "log:100000")


def test_of_a_file_longer_than_memory_should_hold_both_ends_are_read_with_their_line_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_module, "MOST_BYTES", 4000)
    monkeypatch.setattr(text_module, "CHUNK_BYTES", 100)
    content = "\n".join(f"step {number}" for number in range(5000)).encode()
    kept = read_ends(io.BytesIO(content))
    assert len(kept) < len(content) / 3
    lines = lines_of("log", kept)
    assert (lines[0].text, lines[-1].text, lines[-1].source) == ("step 0", "step 4999", "log:5000")


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_and_no_terminal_escape_is_left(content: bytes) -> None:
    assert not any(character in text for text in texts(content) for character in "\x1b\x9b\x07\x08\x00\u202e")


@given(st.text(max_size=2000))
def test_any_text_is_read(text: str) -> None:
    lines = lines_of("paste", text.encode("utf-8", "surrogatepass"))
    assert all(line.source.startswith("paste:") for line in lines)
