"""envcheck: says what is wrong with a machine that should train neural networks, why, and what cures it."""

__version__ = "0.1.0"
