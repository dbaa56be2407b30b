"""Whatever is pasted: no recogniser breaks, facts stay valid, and nothing that could harm a terminal gets through."""

from __future__ import annotations

import importlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.facts import Facts, Framework
from envcheck.triage import facts_from, messages_in
from envcheck.triage.merge import merged
from envcheck.triage.paste import paste_of
from envcheck.triage.recognisers import RECOGNISERS
from envcheck.triage.text import lines_of

FRAGMENTS = (
    "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |",
    "|   0  NVIDIA L4    On  | 00000000:04:00.0 Off |   0 |",
    "| N/A   36C    P8    11W / 72W |    120MiB / 23034MiB |      4%      Default |",
    "GPU 00000000:3B:00.0",
    '<gpu id="00000000:01:00.0">',
    "    FB Memory Usage",
    "        Total : 1 MiB",
    "<fb_memory_usage>",
    "</fb_memory_usage>",
    "index, name, memory.total [MiB]",
    "GPU 0: NVIDIA L4 (UUID: GPU-1)",
    "  MIG 1g.5gb Device 0: (UUID: MIG-1)",
    "Failed to initialize NVML: ",
    "Unable to determine the device handle for GPU 0000:91:00.0: ",
    "$ pip list",
    "Package Version",
    "# packages in environment at /opt/x:",
    "torch==2.1.0+cu121",
    "Name: torch",
    "Version: 2.1.0",
    "Successfully installed torch-2.1.0",
    ">>> torch.__version__, torch.cuda.get_device_capability(0)",
    ">>> print(torch.backends.cudnn.version())",
    "(8, 6) 8907 True '2.1.0' [] ['sm_90']",
    "PyTorch version: 2.1.0",
    "GPU 0,1: Tesla T4",
    "CPU(s): 8",
    "Linux host 6.1.0-1-amd64 #1 SMP x86_64",
    "uid=0(root) gid=0(root) groups=0(root)",
    "$ lsmod | grep nvidia",
    "nvidia 123 4",
    "nvidia/550.54.15, 6.1.0, x86_64: installed",
    "crw-rw-rw- 1 root root 195, 0 Jan 1 00:00 /dev/nvidia0",
    "libcuda.so.1 -> libcuda.so.550.54.15",
    "01:00.0 VGA compatible controller: NVIDIA Corporation [10de:2204]",
    "\tLnkSta: Speed 2.5GT/s, Width x4",
    "[    1.000000] NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
    "$ docker run --gpus all x/y:cuda12.4 \\",
    "services:",
    "export CUDA_VISIBLE_DEVICES=0",
    "Filesystem Size Used Avail Use% Mounted on",
    "overlay 1G 1G 0 100% /",
    "Mem: 1 2 3 4 5 6",
    "$ ulimit -n",
    "  Name: gfx1030",
    'File "/a/lib/python3.10/site-packages/torch/__init__.py", line 1',
    "Created device /job:localhost/replica:0/task:0/device:GPU:0 with 1 MB memory: -> device: 0, name: T4, pci bus",
    "Loaded cuDNN version 8907",
)

pieces = st.one_of(
    st.sampled_from(FRAGMENTS),
    st.text(max_size=40),
    st.tuples(st.sampled_from(FRAGMENTS), st.integers(0, 60)).map(lambda cut: cut[0][: cut[1]]),
    st.tuples(st.sampled_from(FRAGMENTS), st.text(max_size=8), st.integers(0, 60)).map(
        lambda put: put[0][: put[2]] + put[1] + put[0][put[2] :]
    ),
)
pastes = st.lists(pieces, max_size=14).flatmap(
    lambda parts: st.sampled_from(["\n", "\r\n", "\n> ", "\n    ", " ", "\t"]).map(lambda glue: glue.join(parts))
)


@pytest.mark.parametrize("name", [name for name, _ in RECOGNISERS])
@given(text=pastes)
@settings(max_examples=25, deadline=None)
def test_no_recogniser_breaks_on_any_paste_and_all_that_it_says_is_a_valid_fact(name: str, text: str) -> None:
    recogniser = importlib.import_module(f"envcheck.triage.recognisers.{name}")
    paste = paste_of(lines_of("paste", text.encode("utf-8", "surrogatepass")))
    known = merged(list(recogniser.recognise(paste)))
    assert msgspec.json.decode(msgspec.json.encode(known), type=Facts) == known


@given(text=pastes)
@settings(max_examples=25, deadline=None)
def test_the_same_paste_twice_says_no_more_than_once(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    once = facts_from([("a", content)])
    assert facts_from([("a", content)]) == once


@given(content=st.binary(max_size=400))
@settings(max_examples=25, deadline=None)
def test_any_bytes_give_facts_without_control_characters(content: bytes) -> None:
    shown = msgspec.json.encode(facts_from([("paste", b"NVIDIA-SMI has failed because " + content)])).decode()
    assert not any(escape in shown for escape in ("\\u001b", "\\u009b", "\x1b", "\x9b", "\\u0007", "\\u0000"))


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: Could not find a version that satisfies the requirement torch, looked in https://me:{}@pypi.example.org/",
        "export HF_TOKEN={}",
        "ENV PIP_EXTRA_INDEX_URL=https://__token__:{}@pypi.example.org/simple",
        "$ CUDA_VISIBLE_DEVICES=0 WANDB_API_KEY={} python train.py",
        "OSError: You are trying to access a gated repo. Authorization: Bearer {}",
        "ModuleNotFoundError: No module named 'x' (AWS_SECRET_ACCESS_KEY={})",
    ],
)
def test_a_secret_that_was_pasted_along_is_in_no_fact_and_on_no_page(line: str) -> None:
    from envcheck.check import all_checks
    from envcheck.doctor import diagnose, with_metadata
    from envcheck.intent import Intent
    from envcheck.render import json as render_json
    from envcheck.render import terminal

    planted = "pl4nt3dS3cretPl4nt3dS3cret"
    facts = with_metadata(facts_from([("paste", line.format(planted).encode())]))
    report = diagnose(facts, [], all_checks(), Intent())
    page = terminal.page(report, width=200, colour=False, verbose=True, quiet=False)
    assert planted not in page
    assert planted not in render_json.text(report)


def test_markup_in_a_paste_is_text_on_the_page() -> None:
    from envcheck.check import all_checks
    from envcheck.doctor import diagnose, with_metadata
    from envcheck.intent import Intent
    from envcheck.render import terminal

    text = "$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch [bold red]\x1b[31m[link=x]y[/link]"
    facts = with_metadata(facts_from([("paste", text.encode())]))
    page = terminal.page(
        diagnose(facts, [], all_checks(), Intent()), width=100, colour=False, verbose=True, quiet=False
    )
    assert "\x1b" not in page
    assert "[bold red]" in page


def test_documents_of_any_order_and_mixture_are_put_together() -> None:
    smi = b"| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |"
    packages = "torch==2.1.0\nnumpy==1.26.0\nscipy==1.11.0\n".encode("utf-16")
    for documents in ([("a", smi), ("b", packages)], [("b", packages), ("a", smi)]):
        facts = facts_from(documents)
        assert facts.nvml is not None
        assert facts.nvml.sources["driver_version"] == "a:1"
        assert facts.packages is not None
        assert facts.packages.sources["installed"] == "b:1"


def test_two_driver_versions_in_one_paste_are_shown_as_a_contradiction_with_both_places() -> None:
    from envcheck.doctor import diagnose
    from envcheck.intent import Intent

    facts = facts_from(
        [
            ("monday", b"| NVIDIA-SMI 535.54.03   Driver Version: 535.54.03   CUDA Version: 12.2 |"),
            ("friday", b"| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |"),
        ]
    )
    sentences = diagnose(facts, [], [], Intent()).not_examined
    assert any("535.54.03 (monday:1) and 550.54.15 (friday:1)" in sentence for sentence in sentences)


def test_a_saved_report_of_envcheck_brings_its_facts_along() -> None:
    from envcheck.doctor import diagnose
    from envcheck.intent import Intent
    from envcheck.render import json as render_json

    facts = Facts(torch=Framework(name="torch", version="2.5.1", state="ok", sees_gpu=False))
    saved = render_json.text(diagnose(facts, [], [], Intent())).encode()
    assert facts_from([("report.json", saved)]).torch == facts.torch


def test_json_that_is_no_report_is_read_as_text() -> None:
    assert facts_from([("x", b'{"schema_version": 1, "facts": 3}')]) == Facts()


def test_a_paste_of_which_nothing_is_known_is_not_called_healthy() -> None:
    assert facts_from([("x", b"see /home/u/notes.txt and /etc/hosts")]) == Facts()


def test_what_was_recognised_is_told() -> None:
    pasted = facts_from([("x", b"No devices were found\nglibc 2.31")]).pasted
    assert pasted is not None
    assert pasted.formats is not None
    assert pasted.formats[0] == "nvidia_smi"


def test_nothing_is_recognised_in_nothing() -> None:
    assert facts_from([]) == Facts()
    assert facts_from([("empty", b"")]) == Facts()


def test_what_a_framework_prints_and_what_is_pasted_get_the_same_answer() -> None:
    from envcheck.doctor import with_messages

    error = "libcudnn.so.8: cannot open shared object file: No such file or directory"
    live = with_messages(Facts(torch=Framework(name="torch", state="failed", error_type="ImportError", error=error)))
    pasted = facts_from([("paste", f"ImportError: {error}\n".encode())])
    assert live.messages is not None
    assert pasted.messages is not None
    assert [item.family for item in live.messages.found or []] == [item.family for item in pasted.messages.found or []]
    assert messages_in("all is well", "torch: import") == []


def test_a_framework_that_is_silent_costs_nothing() -> None:
    from envcheck.doctor import with_messages

    facts = Facts(torch=Framework(name="torch", state="ok", stderr=""))
    assert with_messages(facts) is facts
