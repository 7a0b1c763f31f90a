"""Dagster's storage: its home, its event log, its runs, and what is erased from them.

Belongs here: everything that needs private names of Dagster. docs/design.md, "Private parts of
libraries", lists them, and ``test_private_names.py`` fails, naming it, when one changes.
Does not belong: what is stored there (``events``), when runs are started (``sensors``, ``jobs``).
"""
