"""Recognisers: one module a format, each with `recognise(paste) -> Iterator[Piece]`.

A module is loaded only where one of its literals stands in the paste: that keeps the start short.
"""

from __future__ import annotations

RECOGNISERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nvidia_smi", ("NVIDIA-SMI", "NVML", "No devices were found", "Unable to determine the", "(UUID: ")),
    (
        "nvidia_smi_query",
        (
            "NVSMI LOG",
            "<nvidia_smi_log>",
            "<gpu id=",
            "--query-gpu",
            "memory.total",
            "driver_version,",
            "\nGPU 0000",
            " Link 0:",
        ),
    ),
)
"""Module → texts of which one must stand in a paste for the module to have anything to say; in order of authority."""
