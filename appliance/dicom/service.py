"""What another service class provider brings to the receiver's port: its presentation contexts and its pynetdicom handlers.

A CT sends storage commitment requests (N-ACTION) and procedure steps (N-CREATE, N-SET) to the AE title that it stores to, so they share
the door, its bounds and its allow-lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pynetdicom.events import EventType, InterventionEvent
from pynetdicom.presentation import PresentationContext

Handler = tuple[EventType, Callable[[Any], Any]]


class Service(Protocol):
    """A service class provider on the receiver's port.

    Handlers run in the thread of their association and must bound their own time.
    """

    @property
    def contexts(self) -> Sequence[PresentationContext]:
        """The SOP classes and transfer syntaxes that are offered."""
        ...

    @property
    def handlers(self) -> Sequence[Handler]:
        """Events of pynetdicom and what answers them."""
        ...


def contexts_of(services: Sequence[Service]) -> list[PresentationContext]:
    """The presentation contexts of all services."""
    return [context for service in services for context in service.contexts]


def handlers_of(services: Sequence[Service]) -> list[Handler]:
    """The handlers of all services.

    Raises:
        ValueError: two services answer the same request, of which pynetdicom would call only the last.
    """
    handlers = [handler for service in services for handler in service.handlers]
    answering = [event for event, _ in handlers if isinstance(event, InterventionEvent)]
    doubled = sorted({event.name for event in answering if answering.count(event) > 1})
    if doubled:
        raise ValueError(f"two services of the receiver answer {', '.join(doubled)}")
    return handlers
