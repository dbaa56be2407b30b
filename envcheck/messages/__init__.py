"""What programs print when something is wrong: families of messages, and what each means.

tables/*.toml hold the rows (compiled to JSON beside them by tools/compile_tables.py); `table` reads them, `recognise`
finds them in text, `weigh` decides which cause a set of messages and facts speaks for.  Live errors of frameworks and
pasted text go through the same rows, so that both get the same answer.
"""
