"""Keras: its generation beside TensorFlow's, and its backend."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck import cures
from envcheck.check import check
from envcheck.checks.tensorflow import installed_tensorflow
from envcheck.facts import Framework, Packages, Python, Variables, need
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity

BACKENDS = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax", "openvino": "openvino"}
"""Backend of Keras 3 → the distribution that it needs. Source: the Keras documentation, "Configuring your backend"."""


@check(area="keras", causes=["keras-2-3-mismatch"])
def keras_fits_tensorflow(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """Keras is of the generation that TensorFlow uses.

    Why: TensorFlow up to 2.15 uses Keras 2, from 2.16 on Keras 3. The other generation beside it makes `tf.keras` and
    `keras` two different things, or fails at import.
    If not: layers and models of the one are refused by the other; saved models do not load.
    Source: Requires-Dist of tensorflow (keras<2.16 up to 2.15, keras>=3.0 from 2.16 on); table `keras`.
    """
    from envcheck.compat import keras as releases
    from envcheck.compat.versions import parse, public

    need(packages.installed, "packages.installed")
    tensorflow = installed_tensorflow(packages)
    keras = parse(cures.version_of(packages, "keras"))
    if tensorflow is None or keras is None:
        return
    generation = releases.major_of_tensorflow(tensorflow.version)
    release = public(tensorflow.version)
    if generation is None or release is None or release.major < 2 or (keras.major >= 3) == (generation >= 3):  # noqa: PLR2004
        return
    wanted = "keras>=3" if generation >= 3 else f"keras=={release.major}.{release.minor}.*"  # noqa: PLR2004
    yield Finding(
        cause="keras-2-3-mismatch",
        severity=Severity.WARNING,
        title=f"Keras {keras} beside {tensorflow.name} {tensorflow.version}, which uses Keras {generation}",
        evidence=[
            Evidence(f"keras {keras}", "metadata"),
            Evidence(f"{tensorflow.name} {tensorflow.version}", tensorflow.location or "metadata"),
        ],
        remedies=[
            cures.install(python, [wanted], f"Install the Keras of this TensorFlow ({wanted})", packages=packages)
        ],
        explains=["keras-imports", "tensorflow-imports"],
        links=["https://keras.io/getting_started/"],
    )


@check(area="keras", causes=["keras-2-3-mismatch", "package-not-installed"])
def legacy_keras_is_there(variables: Variables, packages: Packages, python: Python | None) -> Iterator[Finding]:
    """Where TF_USE_LEGACY_KERAS asks for Keras 2, tf-keras is installed.

    Why: with TF_USE_LEGACY_KERAS=1 TensorFlow 2.16 and later takes `tf.keras` from the package tf-keras.
    If not: the first use of `tf.keras` fails.
    Source: the TensorFlow documentation, "Keras 3" notes of release 2.16.
    """
    from envcheck.compat import keras as releases

    value = need(variables.values, "variables").get("TF_USE_LEGACY_KERAS", "")
    installed = {package.name for package in need(packages.installed, "packages.installed")}
    tensorflow = installed_tensorflow(packages)
    if value.lower() not in {"1", "true"} or tensorflow is None or "tf-keras" in installed or not packages.complete:
        return
    if releases.major_of_tensorflow(tensorflow.version) == 2:  # noqa: PLR2004
        return
    series = ".".join(tensorflow.version.split(".")[:2])
    yield Finding(
        cause="package-not-installed",
        severity=Severity.WARNING,
        title="TF_USE_LEGACY_KERAS asks for Keras 2, and tf-keras is not installed",
        evidence=[Evidence(f"TF_USE_LEGACY_KERAS={value}", "environment")],
        remedies=[
            cures.install(python, [f"tf-keras=={series}.*"], "Install tf-keras", packages=packages),
            Remedy(
                action="Or use Keras 3",
                commands=["unset TF_USE_LEGACY_KERAS"],
                safe=True,
                changes="this shell alone",
            ),
        ],
        explains=["keras-imports"],
    )


@check(area="keras", causes=["package-not-installed", "dependency-conflict", "user-code"])
def keras_backend_is_there(
    packages: Packages, variables: Variables | None, keras: Framework | None, python: Python | None
) -> Iterator[Finding]:
    """The backend that Keras 3 is told to use is installed, in a version that it accepts.

    Why: Keras 3 brings no backend of its own; KERAS_BACKEND, else ~/.keras/keras.json, else TensorFlow decides.
    If not: `import keras` fails with "No module named" or "Unable to import backend".
    Source: the Keras documentation, "Configuring your backend"; README of Keras at each release (table `keras`).
    """
    from envcheck.compat import keras as releases
    from envcheck.compat.versions import parse

    need(packages.installed, "packages.installed")
    text = cures.version_of(packages, "keras")
    version = parse(text)
    if version is None or version.major < 3 or not packages.complete:  # noqa: PLR2004
        return
    told = (variables.values or {}).get("KERAS_BACKEND") if variables else None
    backend = told or (keras.backend if keras else None) or ""
    if not backend:
        need(None, "the backend that Keras is told to use")
    source = "KERAS_BACKEND" if told else "Keras itself"
    if backend not in {*BACKENDS, "numpy"}:
        yield Finding(
            cause="user-code",
            severity=Severity.WARNING,
            title=f"Keras is told to use {backend!r}, which is none of its backends",
            evidence=[Evidence(f"backend {backend}", source)],
            remedies=[
                Remedy(
                    action="Name a backend that Keras knows",
                    commands=["export KERAS_BACKEND=tensorflow"],
                    safe=True,
                    changes="this shell alone",
                )
            ],
            explains=["keras-imports"],
        )
        return
    if backend == "numpy":
        return
    tensorflow = installed_tensorflow(packages)
    present = (
        (tensorflow.version if tensorflow else None)
        if backend == "tensorflow"
        else cures.version_of(packages, BACKENDS[backend])
    )
    if present is None:
        yield Finding(
            cause="package-not-installed",
            severity=Severity.WARNING,
            title=f"Keras {version} is told to use {backend}, which is not installed",
            evidence=[Evidence(f"backend {backend}", source)],
            remedies=[cures.install(python, [BACKENDS[backend]], f"Install {backend}", packages=packages)],
            explains=["keras-imports"],
            links=["https://keras.io/getting_started/"],
        )
        return
    least, have = parse(releases.backend_minimum(text, backend)), parse(present)
    if least is not None and have is not None and have < least:
        yield Finding(
            cause="dependency-conflict",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            title=f"Keras {version} needs {backend} {least} or newer, installed is {present}",
            evidence=[Evidence(f"{backend} {present}", "metadata"), Evidence(f"{backend}>={least}", "README of Keras")],
            remedies=[
                cures.install(
                    python, [f"{BACKENDS[backend]}>={least}"], f"Install a newer {backend}", packages=packages
                )
            ],
        )
