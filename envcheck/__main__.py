"""`python -m envcheck`, the same as the command `envcheck`."""

from __future__ import annotations

from envcheck.commands import main

if __name__ == "__main__":
    main()
