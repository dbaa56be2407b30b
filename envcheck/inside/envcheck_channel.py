"""The channel between a script in the interpreter under test and envcheck.

Standard output is kept for JSON lines; whatever a framework prints goes to standard error instead.  Runs on Python
2.7 and on 3.4 or later.
"""

import json
import os
import sys

path = list(sys.path)
_out = os.dup(1)
os.dup2(2, 1)

# The loader leaves the limit as the first argument: a child whose parent was killed ends by itself.
limit = float(sys.argv.pop(1)) if len(sys.argv) > 1 else 0.0
try:
    import faulthandler

    faulthandler.enable()
    if limit > 3:
        faulthandler.dump_traceback_later(limit - 1.5)
except Exception:
    faulthandler = None


def say(kind, **values):
    """Write one JSON object."""
    values["kind"] = kind
    text = json.dumps(values)
    if "\\ud" in text:
        # Half a character, as Python reads a file name that is no UTF-8: no JSON reader takes it.
        text = json.dumps(values, ensure_ascii=False)
    data = (text + "\n").encode("utf-8", "replace")
    while data:
        data = data[os.write(_out, data) :]


def users_path():
    """Search modules from now on as the user's own `python -c` would, the working directory first."""
    sys.path[:] = path
    sys.modules.pop("envcheck_channel", None)


def end(code=0):
    """Leave at once: frameworks take long to tear down, and some crash while they do."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(code)
