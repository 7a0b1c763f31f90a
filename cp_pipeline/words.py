"""How numbers read in sentences, for all rooms that speak to people."""


def count(number: int, singular: str) -> str:
    """``1 file``, ``1,234 files``."""
    return f"{number:,} {singular}" + ("" if number == 1 else "s")
