"""What a survey and the execution of its plan need: the service, the landing, the warehouse.

Belongs here: opening them from the settings, and adding up the time, who is erased.
Does not belong: using them (``survey``, ``executor``).
"""

import platform
from dataclasses import dataclass

from cp_pipeline.centrepoint import CentrePoint
from cp_pipeline.ingest.timings import Timings
from cp_pipeline.landing import Landing, remembered_erasures
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse, erased_subjects

REQUEST_LEDGER = ".requests"


@dataclass(frozen=True, slots=True)
class Spent:
    """The seconds by activity, and how long the warehouse was held: in total and at most."""

    seconds: dict[str, float]
    held: float
    longest_hold: float


class Rooms:
    """The service, the landing and the warehouse of one configuration.

    Args:
        access: the settings of the service.
        storage: the settings of landing and warehouse.
    """

    def __init__(self, access: CentrePointSettings, storage: StorageSettings) -> None:
        self.storage = storage
        self.centrepoint = CentrePoint(access, storage.landing / _ledger(access))
        self.landing = Landing.of(storage)
        self.warehouse = Warehouse.of(storage)
        self.timings = Timings()

    def erased(self) -> frozenset[int]:
        """Return the erased subjects; the landing remembers them if the warehouse is lost.

        Raises:
            WarehouseError: the warehouse cannot be read.
        """
        return erased_subjects(self.warehouse) | remembered_erasures(self.landing).keys()

    def spent(self) -> Spent:
        """Return the time spent so far."""
        warehouse = self.warehouse
        return Spent(self.timings.seconds(), warehouse.held_seconds, warehouse.longest_hold_seconds)

    def also_spent(self, spent: Spent) -> None:
        """Add the time that a subprocess spent."""
        self.timings.add(spent.seconds)
        warehouse = self.warehouse
        warehouse.held_seconds += spent.held
        warehouse.longest_hold_seconds = max(warehouse.longest_hold_seconds, spent.longest_hold)


def _ledger(access: CentrePointSettings) -> str:
    """Return the name of the ledger; with several hosts, each has its own, also in one folder.

    Its times are of one machine's clock (``centrepoint.budget``).
    """
    return REQUEST_LEDGER if access.hosts == 1 else f"{REQUEST_LEDGER}-{platform.node()}"
