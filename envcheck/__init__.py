"""envcheck: says what is wrong with a machine that should train neural networks, why, and what cures it."""

__version__ = "0.1.0"


def load_ipython_extension(ipython: object) -> None:
    """Give a notebook the magic `%envcheck`: what `%load_ext envcheck` calls."""
    from envcheck import notebook  # noqa: PLC0415 - only in a notebook

    notebook.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: object) -> None:
    """Take the magic away: what `%unload_ext envcheck` calls."""
    from envcheck import notebook  # noqa: PLC0415 - only in a notebook

    notebook.unload_ipython_extension(ipython)
