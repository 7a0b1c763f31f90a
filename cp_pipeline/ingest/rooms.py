"""What a plan is executed with: the service, the landing, the warehouse, and the clock of a run.

Belongs here: opening them by the settings, and adding up where the time went.
Does not belong: what is done with them (``pipeline``, ``executor``).
"""

from dataclasses import dataclass

from cp_pipeline.centrepoint import CentrePoint
from cp_pipeline.ingest.timings import Timings
from cp_pipeline.landing import Landing
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse

REQUEST_LEDGER = ".requests"


@dataclass(frozen=True, slots=True)
class Spent:
    """Where the time went: seconds by activity, and those of holding the warehouse."""

    seconds: dict[str, float]
    held: float
    longest_hold: float


class Rooms:
    """The rooms below, opened for the studies of one configuration.

    Args:
        access: whom to ask, and how.
        storage: where to keep what comes.
    """

    def __init__(self, access: CentrePointSettings, storage: StorageSettings) -> None:
        self.storage = storage
        self.centrepoint = CentrePoint(access, storage.landing / REQUEST_LEDGER)
        self.landing = Landing(storage.landing)
        self.warehouse = Warehouse.of(storage)
        self.timings = Timings()

    def spent(self) -> Spent:
        """Where the time went so far."""
        warehouse = self.warehouse
        return Spent(self.timings.seconds(), warehouse.held_seconds, warehouse.longest_hold_seconds)

    def also_spent(self, spent: Spent) -> None:
        """Add time that another process spent for the same purpose."""
        self.timings.add(spent.seconds)
        warehouse = self.warehouse
        warehouse.held_seconds += spent.held
        warehouse.longest_hold_seconds = max(warehouse.longest_hold_seconds, spent.longest_hold)
