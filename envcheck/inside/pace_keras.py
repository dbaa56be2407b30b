"""The pace of Keras: the reference network's training step, on the backend that is configured; see pace.py.

Products and convolutions are the backend's own; what Keras adds to them shows in the step alone.
"""

PACKAGE = "keras"
REFERENCE = "smoke_keras"

state = {}


def prepare(_reference, settings):
    """Get ready."""
    state["device"] = settings["device_used"]


def wait():
    """Return at once: a training step has been waited for."""


def tasks():
    """Return the names of the tasks."""
    return ["threads" if state["device"] == "cpu" else "step"]
