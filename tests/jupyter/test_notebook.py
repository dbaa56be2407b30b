"""`%envcheck` without a notebook: what the kernel says of itself, the child's answer, and the HTML."""

from __future__ import annotations

import html.parser
import json
import re
import subprocess
import sys
import types

import pytest
from pythons import pythons
from running import ROOT

import envcheck
from envcheck import notebook
from envcheck.facts import Facts, Gpu, GpuProcess, Nvml, Package, Packages
from envcheck.jupyter import inline
from envcheck.jupyter.running import Kernel, TensorFlowState, TorchState, remarks
from envcheck.report import Evidence, Finding, Remedy, Report, Severity, Verdict

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e&\"'"


class Shell:
    """What IPython offers an extension."""

    def __init__(self):
        self.magics_manager = types.SimpleNamespace(magics={"line": {}})

    def register_magic_function(self, function, kind, name):
        self.magics_manager.magics[kind][name] = function


def report(**more):
    said = {
        "schema_version": 1,
        "envcheck_version": "0",
        "verdict": Verdict.OK,
        "summary": "PyTorch 2.9.0",
        "findings": [],
        "requirements": [],
        "not_examined": [],
        "facts": Facts(),
        "probes": [],
        "checks": [],
    }
    return Report(**{**said, **more})


def fault(text):
    return Finding(
        cause="cpu-only-build",
        severity=Severity.ERROR,
        title=text,
        evidence=[Evidence(text, text)],
        remedies=[Remedy(action=text, commands=[text, "second"], changes=text)],
        links=["javascript:alert(1)", "https://example.com/?a=1&b=2"],
        detail=text,
        check="torch-imports",
    )


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []
        self.open = []
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.addresses += [value for name, value in attrs if name in {"href", "src"}]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text):
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


def test_loading_the_extension_gives_the_magic_and_unloading_takes_it_away():
    shell = Shell()
    envcheck.load_ipython_extension(shell)
    assert list(shell.magics_manager.magics["line"]) == ["envcheck"]
    envcheck.unload_ipython_extension(shell)
    assert shell.magics_manager.magics["line"] == {}


def test_importing_envcheck_stays_as_cheap_as_it_was():
    code = "import sys; before = set(sys.modules); import envcheck; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "['envcheck']"


def test_nothing_of_the_machine_becomes_markup():
    found = fault(HOSTILE)
    text = inline.of_report(report(verdict=Verdict.ERROR, summary=HOSTILE, findings=[found]), [], verbose=True)
    tags = parsed(text)
    assert not {"script", "img", "iframe", "style"} & set(tags.seen)
    assert [address for address in tags.addresses if address] == ["https://example.com/?a=1&b=2"]
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "script" not in parsed(inline.of_text(HOSTILE, HOSTILE)).seen


def test_verdict_cause_evidence_and_cure_come_in_this_order_and_each_colour_repeats_a_word():
    found = fault("torch is a CPU build")
    text = inline.of_report(report(verdict=Verdict.ERROR, summary="torch is a CPU build", findings=[found]), [])
    words = re.sub(r"<[^>]+>", "\n", text)
    places = [words.index(word) for word in ("ERROR", "torch is a CPU build", "cause", "seen", "cure", "second")]
    assert places == sorted(places)
    assert words.count("torch is a CPU build\n") >= 1


@pytest.mark.parametrize("colour", inline.COLOURS.values())
def test_white_words_can_be_read_on_every_mark(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= 4.5


def installed(**versions):
    return Facts(
        packages=Packages(installed=[Package(name=name, version=version) for name, version in versions.items()])
    )


def test_a_version_that_was_installed_after_the_import_asks_for_a_restart():
    found = remarks(
        Kernel(imported={"torch": "2.8.0+cu126", "numpy": "2.1.0"}), installed(torch="2.9.0", numpy="2.1.0")
    )
    (stale,) = [remark for remark in found if remark.grave]
    assert "PyTorch 2.8.0+cu126 is loaded here, and 2.9.0 is what is installed now" in stale.text
    assert "Restart" in stale.action
    assert inline.verdict_of(report(), found)[0] is Verdict.WARNING
    assert not any(one.grave for one in remarks(Kernel(imported={"torch": "2.9.0+cpu"}), installed(torch="2.9.0")))


def test_devices_that_a_framework_has_opened_and_the_memory_it_holds_are_said():
    kernel = Kernel(
        process=42,
        torch=TorchState(devices=[{"used": 1 << 30, "held": 3 << 30}, {"used": 0, "held": 0}]),
        tensorflow=TensorFlowState(gpus=1),
    )
    gpu = Gpu(index=0, processes=[GpuProcess(process_id=42, memory_bytes=5 << 30), GpuProcess(process_id=7)])
    text = "\n".join(remark.text for remark in remarks(kernel, Facts(nvml=Nvml(gpus=[gpu]))))
    assert "PyTorch in this kernel holds 3.0 GiB on cuda:0, 1.0 GiB of it in use" in text
    assert "TensorFlow in this kernel has opened 1 GPU" in text
    assert "process 42) holds 5.0 GiB on GPU 0" in text
    assert "cuda:1" not in text


def test_a_mask_that_was_set_after_the_gpus_were_opened_is_said_to_come_too_late():
    changed = {"CUDA_VISIBLE_DEVICES": "1", "HF_TOKEN": "hf_secret", "CUDA_MODULE_LOADING": "LAZY"}
    (early,) = remarks(Kernel(changed=changed), Facts())
    assert early.text == "CUDA_VISIBLE_DEVICES=1: set in this kernel since it began"
    (late,) = remarks(Kernel(changed=changed, torch=TorchState()), Facts())
    assert "PyTorch had or has its devices open, and reads it only once" in late.text


def test_the_kernel_s_account_of_itself_opens_and_imports_nothing(monkeypatch):
    torch = types.ModuleType("torch")
    torch.__version__ = "2.9.0"
    opened = {"yet": False}
    torch.cuda = types.SimpleNamespace(
        is_initialized=lambda: opened["yet"],
        device_count=lambda: 1,
        memory_allocated=lambda _: 1,
        memory_reserved=lambda _: 2,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    told = notebook.state()
    assert told["imported"]["torch"] == "2.9.0"
    assert told["torch"] is None
    assert told["changed"]["CUDA_VISIBLE_DEVICES"] == "3"
    opened["yet"] = True
    assert notebook.state()["torch"] == {"devices": [{"used": 1, "held": 2}]}
    torch.cuda.device_count = lambda: 1 / 0
    assert notebook.state()["torch"] is None


def test_a_notebook_gets_the_report_on_its_own_interpreter_with_what_is_set_in_it_now(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "<b>7</b>")
    bundle = notebook.answer(["--quick", "--require", "torch"])
    assert {"text/html", "text/plain"} == set(bundle)
    assert "it runs this notebook" in bundle["text/html"]
    assert "CUDA_VISIBLE_DEVICES=&lt;b&gt;7&lt;/b&gt;: set in this kernel" in bundle["text/html"]
    assert "CUDA_VISIBLE_DEVICES=<b>7</b>" in bundle["text/plain"]
    parsed(bundle["text/html"])


@pytest.mark.parametrize(
    ("words", "html_has", "text_has"),
    [
        (["--requier", "torch"], "USAGE", "--requier"),
        (["explain", "cpu-only-build"], "CPU-only", "CPU-only"),
        (["--help"], "Examine this machine", "--require"),
    ],
)
def test_other_commands_and_wrong_usage_are_answered_too(words, html_has, text_has):
    bundle = notebook.answer(words)
    assert html_has in bundle["text/html"]
    assert text_has in bundle["text/plain"]


def test_the_verdict_comes_first_wherever_the_command_said_it():
    text = inline.of_text("epoch 1/2\nepoch 2/2\nOK       this environment trains\n\n  device  cpu")
    assert 'data-verdict="ok"' in text
    assert text.index("this environment trains") < text.index("epoch 1/2") < text.index("device")
    assert text.count("this environment trains") == 1


def test_where_nothing_can_be_displayed_the_report_is_printed(capsys):
    notebook.run("--quick --unbalanced 'quote")
    assert "No closing quotation" in capsys.readouterr().out


def test_the_magic_loads_in_every_python_that_a_kernel_may_have_and_finds_envcheck_s_own_interpreter(tmp_path):
    series = next((name for name in ("3.7", "3.8", "3.9") if name in pythons()), None)
    if series is None:
        pytest.skip("no Python before 3.10 is here")
    code = (
        "import runpy, sys, json, types\n"
        "class Shell:\n"
        "    def register_magic_function(self, function, kind, name): self.magic = function\n"
        "shell = Shell()\n"
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: shell)\n"
        "space = runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "print(json.dumps(space['answer'](['explain', 'cpu-only-build'])))\n"
        "assert shell.magic.__name__ == 'run'\n"
    )
    place = ROOT / "envcheck" / "notebook.py"
    done = subprocess.run(
        [pythons()[series], "-c", code, str(place)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "CPU-only" in json.loads(done.stdout)["text/html"]
