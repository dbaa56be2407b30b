"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take signals as a terminal's programs do, and so what the tests start.

    `nohup`, and shells that start a job in the background, let a program ignore hang-ups and interrupts, which its
    children inherit: envcheck leaves off what was switched off, and a shell cannot even trap it.
    """
    for name, action in (
        ("SIGHUP", signal.SIG_DFL),
        ("SIGQUIT", signal.SIG_DFL),
        ("SIGINT", signal.default_int_handler),
    ):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)
