"""Dagster's storage: its home, its event log, its runs, and erasing a subject from them.

Belongs here: everything that needs private names of Dagster. docs/design.md, "Private parts of
libraries", lists them. If one changes, ``test_private_names.py`` fails and names it.
Does not belong: the events that are stored (``events``), starting runs (``sensors``, ``jobs``).
"""
