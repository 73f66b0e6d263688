"""One thing that would clear an alert, as it is stored and told; remedies.py finds it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal


class Action(enum.Enum):
    """What somebody can do about an alert."""

    #: money comes into the wallet: total and available rise
    DEPOSIT = "deposit"
    #: what is available becomes margin of the position
    ADD_MARGIN = "add_margin"
    #: a share of the position is closed at mark price: its margin comes back with profit or loss
    REDUCE = "reduce"


#: the unit of a share
PERCENT = "%"


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """The smallest amount of an action with which the alert would be clear."""

    action: Action
    #: money to the cent, a share in whole percents
    amount: Decimal
    #: the settlement asset, or PERCENT
    unit: str
