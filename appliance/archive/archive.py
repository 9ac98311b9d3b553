"""Everything of the archive over one data folder, built once per process and handed on in parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher

from appliance.archive.audit import AuditTrail
from appliance.archive.badges import BadgeStore
from appliance.archive.clock import Clock, SystemClock
from appliance.archive.commands import CommandLog
from appliance.archive.commitments import Commitments
from appliance.archive.components import ComponentStore
from appliance.archive.database import Database
from appliance.archive.files import make_folder
from appliance.archive.found import FoundObjects
from appliance.archive.index import InstanceIndex
from appliance.archive.instances import Spool
from appliance.archive.orders import OrderStore
from appliance.archive.outbox import Outbox
from appliance.archive.priors import PriorStore
from appliance.archive.procedure_steps import ProcedureSteps
from appliance.archive.pseudonyms import Pseudonyms
from appliance.archive.retention import Retention, Room, room_of
from appliance.archive.search import SearchIndex
from appliance.archive.studies import StudyStore
from appliance.archive.tokens import TokenStore
from appliance.archive.users import UserStore
from appliance.settings import RetentionSettings


@dataclass(frozen=True)
class Archive:
    """The stores over one database, and the folders beside it.

    Attributes:
        data: the data folder: ``coronet.db``, ``spool/``, ``drafts/``.
    """

    data: Path
    clock: Clock
    database: Database
    studies: StudyStore
    index: InstanceIndex
    outbox: Outbox
    users: UserStore
    commands: CommandLog
    components: ComponentStore
    audit: AuditTrail
    found: FoundObjects
    search: SearchIndex
    tokens: TokenStore
    priors: PriorStore
    commitments: Commitments
    orders: OrderStore
    procedure_steps: ProcedureSteps
    pseudonyms: Pseudonyms
    badges: BadgeStore

    @property
    def drafts(self) -> Path:
        """Folder of the drafts, each at the path that the study's row names."""
        return self.data / "drafts"

    def spool(self, *, minimum_free_bytes: int, series_reserve_bytes: int = 0) -> Spool:
        """The spool, for the receiver process alone.

        Raises:
            ArchiveError: another process holds it.
        """
        return Spool(
            database=self.database,
            root=self.data / "spool",
            clock=self.clock,
            minimum_free_bytes=minimum_free_bytes,
            series_reserve_bytes=series_reserve_bytes,
        )

    def retention(
        self, settings: RetentionSettings, *, refuse_below: int = 0, room: Callable[[], Room] | None = None, archive_name: str = ""
    ) -> Retention:
        """What decides which images may go.

        Args:
            settings: ``[retention]``.
            refuse_below: free bytes below which the receiver takes no new association.
            room: the data disk, if not this one.
            archive_name: the destination that is the long-term archive, if there is one.
        """
        return Retention(
            database=self.database,
            studies=self.studies,
            index=self.index,
            found=self.found,
            outbox=self.outbox,
            audit=self.audit,
            components=self.components,
            clock=self.clock,
            drafts=self.drafts,
            settings=settings,
            refuse_below=refuse_below,
            room=room or (lambda: room_of(self.data)),
            archive_name=archive_name,
        )

    def relative(self, path: Path) -> str:
        """A path below the data folder as the outbox keeps it, so that the folder may move."""
        return str(path.relative_to(self.data))

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_archive(data: Path, *, clock: Clock | None = None, hasher: PasswordHasher | None = None) -> Archive:
    """Open the archive of a data folder, making what is not there.

    Args:
        data: the data folder.
        clock: this machine's if not given.
        hasher: Argon2 of the PINs; the product's costs if not given.

    Raises:
        ArchiveError: the database cannot be used.
    """
    clock = clock or SystemClock()
    make_folder(data / "drafts")
    database = Database(data / "coronet.db")
    return Archive(
        data=data,
        clock=clock,
        database=database,
        studies=StudyStore(database=database, clock=clock),
        index=InstanceIndex(database=database, root=data / "spool"),
        outbox=Outbox(database=database, clock=clock),
        users=UserStore(database=database, clock=clock, hasher=hasher),
        commands=CommandLog(database=database, clock=clock),
        components=ComponentStore(database=database, clock=clock),
        audit=AuditTrail(database=database, clock=clock),
        found=FoundObjects(database=database),
        search=SearchIndex(database=database, data=data),
        tokens=TokenStore(database=database, clock=clock),
        priors=PriorStore(database=database, clock=clock),
        commitments=Commitments(database=database, clock=clock),
        orders=OrderStore(database=database, clock=clock),
        procedure_steps=ProcedureSteps(database=database, clock=clock),
        pseudonyms=Pseudonyms(database=database),
        badges=BadgeStore(database=database, clock=clock),
    )
