"""Scripts that the interpreter under test runs; they import nothing of envcheck."""
