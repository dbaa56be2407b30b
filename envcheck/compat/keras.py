"""Keras: releases of Keras 3, their backends, and which Keras a TensorFlow has.

Table: keras (package metadata; README and requirements files of keras-team/keras at each tag).
"""

from __future__ import annotations

from functools import cache

import msgspec
from packaging.version import Version

from envcheck.compat import table
from envcheck.compat.versions import VersionLike, public

KERAS_3_SINCE_TENSORFLOW = Version("2.16")
"""tf.keras is Keras 3 from this release on. Source: requirement keras >= 3.0 in the metadata of tensorflow 2.16.1."""


class KerasRelease(msgspec.Struct, frozen=True):
    """One release of Keras 3."""

    version: str
    requires_python: str
    requires: list[str]
    source: str
    ci_tensorflow_gpu: str | None = None
    """What the release was tested with: a good pairing, not a limit."""
    ci_jax_gpu: str | None = None
    ci_torch_gpu: str | None = None
    tensorflow_min: str | None = None
    """Least TensorFlow; stated from 3.13.0 on."""
    torch_min: str | None = None
    jax_min: str | None = None
    openvino_min: str | None = None


class Rule(msgspec.Struct, frozen=True):
    """A sentence about Keras, with its source."""

    id: str
    rule: str
    source: str


class _Table(msgspec.Struct, frozen=True):
    release: list[KerasRelease]
    rule: list[Rule]


@cache
def _table() -> _Table:
    return table.read("keras", _Table)


def releases() -> list[KerasRelease]:
    """Return every release of the table, newest first."""
    return sorted(_table().release, key=lambda row: Version(row.version), reverse=True)


def release(version: VersionLike | None) -> KerasRelease | None:
    """Return the row of a release, or None where the table has none (Keras 2 is not in it)."""
    wanted = public(version)
    return next((row for row in _table().release if Version(row.version) == wanted), None)


def rules() -> list[Rule]:
    """Return the sentences about Keras that no column holds."""
    return _table().rule


def backend_minimum(version: VersionLike | None, backend: str) -> str | None:
    """Return the least version of a backend ("tensorflow", "torch", "jax", "openvino") for a release of Keras 3.

    The README states it from 3.13.0 on; what it says of the oldest of those releases is taken for those before.

    Returns:
        The version, or None where Keras is not 3 or the backend is not known.
    """
    wanted = public(version)
    if (
        wanted is None
        or wanted.major != Version("3").major
        or backend not in {"tensorflow", "torch", "jax", "openvino"}
    ):
        return None
    stated = [row for row in releases() if row.tensorflow_min is not None]
    rows = [row for row in stated if Version(row.version) <= wanted] or stated[-1:]
    minimum: str | None = getattr(rows[0], f"{backend}_min") if rows else None
    return None if backend == "openvino" and wanted < Version("3.13") else minimum


def major_of_tensorflow(tensorflow: VersionLike | None) -> int | None:
    """Return the major version of Keras that tf.keras is: 2 up to TensorFlow 2.15, 3 from 2.16 on; None if unknown.

    With TF_USE_LEGACY_KERAS=1 and tf-keras installed it is 2 in newer releases too.
    """
    wanted = public(tensorflow)
    if wanted is None:
        return None
    return 3 if wanted.release[:2] >= KERAS_3_SINCE_TENSORFLOW.release[:2] else 2
