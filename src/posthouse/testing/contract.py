"""The contract suite: what every backend must hold, as tests that run against any of them.

A backend's test is one class of about ten lines::

    class TestMine(BackendContract):
        async def open_broker(self, **options):
            return await posthouse.open("mine://localhost", **options)

It needs pytest with pytest-asyncio in auto mode (``asyncio_mode = "auto"``). A test is skipped
only where the backend does not declare the capability that it is about. Nothing here asserts on
speed: a test waits for what must happen, within `posthouse.testing.cases.base.PATIENCE_S`.
"""

from __future__ import annotations

from posthouse.testing.cases.bodies import BodyCases
from posthouse.testing.cases.bodies_typed import TypedBodyCases
from posthouse.testing.cases.bounds import BoundCases
from posthouse.testing.cases.cancellation import CancellationCases
from posthouse.testing.cases.dead_letters import DeadLetterCases
from posthouse.testing.cases.dedup import DedupCases
from posthouse.testing.cases.delivery import DeliveryCases
from posthouse.testing.cases.finding import FindCases, FoundSetCases
from posthouse.testing.cases.iteration import IterationCases
from posthouse.testing.cases.keys import FairCases, KeyCases
from posthouse.testing.cases.lifetime import LifetimeCases
from posthouse.testing.cases.limits import LimitCases
from posthouse.testing.cases.order import OrderCases
from posthouse.testing.cases.pressure import DropCases
from posthouse.testing.cases.rates import InFlightCases, RateCases
from posthouse.testing.cases.redriving import RedriveCases
from posthouse.testing.cases.reopening import ReopeningCases
from posthouse.testing.cases.selecting import IndexCases, SelectCases
from posthouse.testing.cases.settling import SettlingCases
from posthouse.testing.cases.timing import DelayCases, StallCases, TtlCases
from posthouse.testing.cases.topics import TopicCases
from posthouse.testing.cases.transactions import TransactionCases


class BackendContract(
    DeliveryCases,
    SettlingCases,
    DeadLetterCases,
    BoundCases,
    CancellationCases,
    IterationCases,
    TransactionCases,
    BodyCases,
    TypedBodyCases,
    LimitCases,
    LifetimeCases,
    ReopeningCases,
    OrderCases,
    KeyCases,
    FairCases,
    DelayCases,
    TtlCases,
    StallCases,
    RedriveCases,
    DedupCases,
    DropCases,
    InFlightCases,
    RateCases,
    TopicCases,
    FindCases,
    FoundSetCases,
    SelectCases,
    IndexCases,
):
    """Inherit, say how to open a broker, and pytest runs the whole contract.

    ``open_broker(**options)`` must be defined: a new broker, already open. Called again in the
    same test it opens the same place again. ``reopen(broker)`` closes a broker and opens the same
    place; it may be overridden where `open_broker` cannot do that.
    """
