"""What makes the documentation's site of the repository (``mkdocs.yml``).

Belongs here: hooks of MkDocs. Each is loaded by itself. Does not belong: the documents (``docs``).
"""
