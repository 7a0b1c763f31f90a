"""The expected value of a table cell, computed in Python only, to compare with DuckDB's value."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (as DuckDB's TIMESTAMP is without a zone)


def value_of(text: str, type_name: str, *, quoted: bool) -> object:
    """Return the expected value of a cell; fail if the column's type would change it.

    A TIMESTAMP_NS is given in nanoseconds since 1970.
    """
    if type_name == "VARCHAR":
        return text if text or quoted else None
    if not text:
        return None
    if type_name == "BIGINT":
        assert str(int(text)) == text
        assert -(2**63) <= int(text) < 2**63
        return int(text)
    if type_name == "DOUBLE":
        assert Decimal(repr(float(text))) == Decimal(text)
        return float(text)
    if type_name == "DATE":
        assert date.fromisoformat(text).isoformat() == text
        return date.fromisoformat(text)
    assert type_name in {"TIMESTAMP", "TIMESTAMP_NS"}
    moment = datetime.fromisoformat(text)
    naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    if type_name == "TIMESTAMP":
        return naive
    # Python reads only six digits of the fraction.
    fraction = re.search(r"\.([0-9]+)", text)
    nanoseconds = int(fraction[1].ljust(9, "0")) if fraction else 0
    return (naive.replace(microsecond=0) - EPOCH) // timedelta(seconds=1) * 10**9 + nanoseconds
