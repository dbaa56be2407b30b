"""`python -m envcheck`, the same as the command `envcheck`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # `-m` puts the working directory first: a random.py of the user's would take the place of the library's here too.
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(os.curdir):
        del sys.path[0]
    from envcheck.commands import main

    main()
