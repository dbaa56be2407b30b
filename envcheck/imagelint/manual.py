"""Manual pages of rules: what their docstrings say, for `envcheck explain` and docs/image-lint.md."""

from __future__ import annotations

from collections.abc import Sequence

from envcheck.imagelint.rule import SUBJECTS, Rule
from envcheck.manual import body, first_line

HEAD = """\
# Image lint

    envcheck image lint PATH…        Dockerfiles, compose files, Kubernetes manifests; a folder is searched, - is stdin

finds, before anything is built or started, what keeps a container from its GPU or a framework from its libraries: base
image, driver and framework that do not fit each other, wheels that there are none of, scripts with CR LF line ends,
too little shared memory, GPUs that nobody asked for. Nothing is run or downloaded; what a file does not say is unknown
and is not judged.

| option | |
|---|---|
| `--format text\\|json\\|sarif` | for people, programs, code hosts ([ci.md](ci.md)); `-o FILE` writes it there |
| `--driver VERSION` | NVIDIA driver of the machines that run it; without it this machine's, if it has one |
| `--platform linux/arm64` | what the images are built for |
| `--kind` | what every PATH is, whatever its name |
| `--context`, `--target`, `--build-arg` | as for `docker build` |
| `--only GLOB`, `--skip GLOB` | which rules to run |
| `--strict` | warnings fail too |
| `--ignore-unknown` | pass over files of other kinds and templates that are not rendered yet |

Files beside are read where a file names them: requirements files and scripts that a Dockerfile copies, the Dockerfile
that a service is built from, `.env`, and the other compose files of the folder (a GPU is often asked for in one of its
own).

`# envcheck: ignore=RULE` on a line, or alone on the line above, silences a rule there; globs and several names are
fine, and without a name it silences all rules.

| exit status | |
|---|---|
| 0 | nothing wrong, or warnings and notes (`--strict`: 1 for warnings) |
| 1 | an error: it will not build, not start, or not compute on the GPU |
| 2 | the command line is wrong |
| 3 | a file could not be examined: no kind that is known, broken YAML, an unknown instruction |

How quiet it is: on 3,841 Dockerfiles, compose files and manifests of 27 public repositories (November 2026) it names
66 errors and warnings, after the false ones among its first findings were mended: names that pip no longer installs
(33), tags of nvidia/cuda that were removed (26), shared memory (5), indexes that are overruled (2). Samples of each
kind were compared with their files, not every one.

The rules below are made from their docstrings by `make docs`; `make lint` fails where this page is not current.
`envcheck explain RULE` prints one entry, `envcheck image rules` lists them.
"""


def page(rule: Rule) -> str:
    """Return the manual page of a rule, for a terminal."""
    causes = f"Causes that it can name: {', '.join(rule.causes)}"
    return f"{rule.id}  ({SUBJECTS[rule.subject]})\n\n{body(rule.manual)}\n\n{causes}"


def naming(cause: str, rules: Sequence[Rule]) -> str:
    """Return the rules of `envcheck image lint` that name a cause; empty where none does."""
    lines = [f"  {rule.id:<44} {first_line(rule.manual)}" for rule in rules if cause in rule.causes]
    return "\n".join(["", "", "Rules of `envcheck image lint` that can name it:", *lines]) if lines else ""


def document(rules: Sequence[Rule]) -> str:
    """Return docs/image-lint.md."""
    parts = [HEAD]
    for subject, title in SUBJECTS.items():
        parts.append(f"## {title}\n")
        for rule in sorted((rule for rule in rules if rule.subject == subject), key=lambda rule: rule.id):
            causes = ", ".join(f"`{cause}`" for cause in rule.causes)
            parts.append(f"### {rule.id}\n\n{body(rule.manual)}\n\nCauses: {causes}\n")
    return "\n".join(parts)
