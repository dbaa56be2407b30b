"""The report in a real JupyterLab in a real browser. `make notebook` runs this in an environment of its own."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import time

import pytest
from jupyter_lab import CSS, Browser, Lab, started, until, write_notebook
from running import left_running, processes_with

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

PICTURES = pathlib.Path(os.environ.get("ENVCHECK_SCREENSHOTS", ".cache/notebook-pictures"))

HOSTILE = '<img src="x" onerror="document.title=1">'

CELLS = [
    "%load_ext envcheck",
    '%envcheck --require torch.cuda --require "memory>=1GiB"',
    f"import os\nos.environ['CUDA_VISIBLE_DEVICES'] = {HOSTILE!r}",
    "%envcheck --quick",
    "%envcheck explain package-not-installed",
    "%envcheck --requier torch",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    for module in ("selenium", "jupyterlab", "ipykernel"):
        pytest.importorskip(module, reason=f"no {module}: `make notebook` makes the environment that has it")
    with started(tmp_path_factory.mktemp("lab"), {}) as running:
        write_notebook(running.folder / "report.ipynb", CELLS)
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("NO BROWSER: chromium and chromedriver are not on PATH, so that no notebook was looked at")
    driven = Browser(tmp_path_factory.mktemp("profile"))
    yield driven
    driven.close()


@pytest.fixture(scope="module")
def notebook(lab: Lab, browser: Browser) -> Browser:
    """A notebook whose cells were all run."""
    browser.open(lab, "report.ipynb")
    browser.run_all()
    browser.report(5)
    return browser


def test_the_user_sees_verdict_cause_and_cure_below_the_cell(notebook: Browser):
    report = notebook.report(1)
    assert report.get_attribute("data-verdict") == "error"
    lines = report.text.splitlines()
    assert lines[0].startswith("ERROR")
    assert "package-not-installed" in report.text
    assert report.text.index("ERROR") < report.text.index("cause") < report.text.index("cure")
    commands = [pre.text for pre in report.find_elements(CSS, "pre")]
    assert any("install" in command and "torch" in command for command in commands)
    assert "memory>=1GiB: holds" in report.text


def test_the_report_is_about_the_notebook_s_own_interpreter(notebook: Browser):
    import sys

    report = notebook.report(1)
    notebook.driver.execute_script("arguments[0].querySelectorAll('details').forEach(d => d.open = true)", report)
    assert sys.prefix in report.text.replace("~", str(pathlib.Path.home()))
    assert "it runs this notebook" in report.text


def test_a_variable_set_in_a_cell_is_seen_and_no_markup_of_it_is_run(notebook: Browser):
    report = notebook.report(3)
    assert HOSTILE in report.text
    assert report.find_elements(CSS, "img") == []
    assert notebook.driver.title != "1"


def test_a_click_selects_a_whole_command(notebook: Browser):
    command = notebook.report(1).find_element(CSS, "pre")
    command.click()
    selected = until(
        lambda: notebook.driver.execute_script("return String(window.getSelection())"), 5, "something is selected"
    )
    assert selected.strip() == command.text.strip()


def test_other_commands_and_wrong_usage_are_shown_below_the_cell_too(notebook: Browser):
    assert "package-not-installed" in notebook.report(4).text
    usage = notebook.report(5)
    assert usage.text.startswith("USAGE")
    assert "--requier" in usage.text


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_report_is_readable_in_both_themes(notebook: Browser, theme: str):
    PICTURES.mkdir(parents=True, exist_ok=True)
    notebook.theme(theme)
    for cell, name in ((1, "error"), (3, "kernel"), (4, "explain"), (5, "usage")):
        report = notebook.report(cell)
        notebook.picture(report, PICTURES / f"{theme.rpartition(' ')[2].lower()}-{name}.png")
        faint = notebook.driver.execute_script(FAINT, report)
        assert faint == [], faint


FAINT = r"""
// Texts whose contrast against what lies behind them is below 4.5 : 1 (WCAG 2.2, 1.4.3).
const rgba = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
const behind = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    layers.unshift(colour);
    if (colour[3] === 1) break;
  }
  return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
};
const luminance = colour => {
  const c = colour.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
};
const found = [];
for (const element of [arguments[0], ...arguments[0].querySelectorAll('*')]) {
  const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility()) continue;
  const ground = behind(element);
  let opacity = 1;
  const root = arguments[0].parentElement;
  for (let e = element; e && e !== root; e = e.parentElement) opacity *= getComputedStyle(e).opacity;
  const text = rgba(getComputedStyle(element).color);
  const seen = over([text[0], text[1], text[2], text[3] * opacity], ground);
  const [light, dark] = [luminance(seen), luminance(ground)].sort((a, b) => b - a);
  const contrast = (light + 0.05) / (dark + 0.05);
  if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${element.textContent.slice(0, 60)}`);
}
return found;
"""


def test_a_notebook_that_is_not_trusted_shows_the_report_too(lab: Lab, notebook: Browser):
    notebook.command("docmanager:save")
    saved = until(
        lambda: "data-verdict" in (lab.folder / "report.ipynb").read_text(), 30, "it is saved"
    ) and json.loads((lab.folder / "report.ipynb").read_text())
    # Another text than the one that was signed.
    saved["cells"][0]["source"] = "# somebody else's"
    (lab.folder / "foreign.ipynb").write_text(json.dumps(saved))
    notebook.open(lab, "foreign.ipynb")
    report = until(
        lambda: [one for one in notebook.all(".jp-OutputArea-output") if "cause" in one.text], 30, "a report"
    )[0]
    notebook.picture(report, PICTURES / "untrusted.png")
    assert report.text.startswith("ERROR")
    assert "package-not-installed" in report.text


HANGING = """
import os, pathlib
pathlib.Path("hangs/torch").mkdir(parents=True)
pathlib.Path("hangs/torch/__init__.py").write_text("import time; time.sleep(600)")
os.environ |= {"PYTHONPATH": "hangs", "ENVCHECK_TEST_MARK": "interrupted-examination"}
"""


def test_an_interrupt_ends_the_examination_with_all_that_it_started(lab: Lab, browser: Browser):
    write_notebook(lab.folder / "interrupt.ipynb", ["%load_ext envcheck", HANGING, "%envcheck"])
    browser.open(lab, "interrupt.ipynb")
    browser.run_all()
    until(lambda: list(processes_with("interrupted-examination")), 60, "the examination is under way")
    time.sleep(1)
    browser.command("notebook:interrupt-kernel")
    told = "interrupted; nothing is left running"
    until(lambda: told in browser.driver.page_source, 60, "the interruption is told")
    assert left_running("interrupted-examination", 5) == []
