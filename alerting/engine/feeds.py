"""The one table of what can be watched: feeds, scopes, and what their rows are called.

A feed is one page of the exchange. Each scope (`per:` in the rules file) is one kind of its rows:
the labels that tell its alerts apart, the fields of its rows, the names that expressions may use,
and the identities that its fields obey. Another feed is another entry in FEEDS and its scopes in
SCOPES; all that lists names, labels or fields reads them here.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass


class Scope(enum.Enum):
    """What a rule is evaluated for: one alert for each of these."""

    ACCOUNT = "account"
    WALLET = "wallet"
    SYMBOL = "symbol"
    POSITION = "position"


WALLET_FIELDS = (
    "total_balance",
    "total_available_balance",
    "total_blocked_balance",
    "total_position_margin",
    "total_open_order_margin",
)
SYMBOL_FIELDS = ("blocked_balance", "position_margin", "open_order_margin")

POSITION_FIELDS = (
    "leverage",
    "position_size",
    "position_value",
    "position_margin",
    "avg_entry_price",
    "mark_price",
    "last_price",
)
#: computed by risk.py from a position's own numbers
POSITION_FIGURES = (
    "unrealised_pnl",
    "equity",
    "maintenance_margin",
    "maintenance_margin_ratio",
    "liquidation_price",
    "liquidation_distance",
    "effective_leverage",
    "margin_loss",
)
#: of the instrument: in percent of the position's value, and a fraction of it
INSTRUMENT_FIELDS = ("maint_margin_rate", "liq_fee_rate")
#: name for expressions -> the page's own figure, which loses signs and scale
REPORTED = {
    "reported_maint_margin": "maint_margin",
    "reported_unrealised_pnl": "unrealised_pnl",
    "reported_liquidation_price": "liquidation_price",
}

#: a wallet's total -> the field of its asset's rows that it is a total of
MARGINS = {
    "total_blocked_balance": "blocked_balance",
    "total_position_margin": "position_margin",
    "total_open_order_margin": "open_order_margin",
}

#: whole, part and part: the first field is the sum of the other two
Identity = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class ScopeSpec:
    """What the rows of one scope have."""

    #: that identify an alert, from the widest to the narrowest
    labels: tuple[str, ...]
    #: the row's own, by the API's names
    fields: tuple[str, ...] = ()
    #: of the settlement asset that the row belongs to
    asset_fields: tuple[str, ...] = ()
    #: computed by samples.py
    derived: tuple[str, ...] = ()
    #: those of them that messages can show: None where they have no value
    shown: tuple[str, ...] = ()
    #: those of them that every symbol row of the asset counts in
    from_rows: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()

    @functools.cached_property
    def label_set(self) -> frozenset[str]:
        """The labels, in no order."""
        return frozenset(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """What `value` and `when` may name."""
        return (*self.fields, *self.asset_fields, *self.derived)


SCOPES: Mapping[Scope, ScopeSpec] = {
    Scope.ACCOUNT: ScopeSpec(labels=("account", "feed"), fields=("snapshot_age", "poll_failures")),
    Scope.WALLET: ScopeSpec(
        labels=("account", "base_asset"),
        fields=WALLET_FIELDS,
        derived=("margin_ratio", "available_ratio", "unlisted_margin"),
        from_rows=("unlisted_margin",),
        identities=(
            ("total_balance", "total_available_balance", "total_blocked_balance"),
            ("total_blocked_balance", "total_position_margin", "total_open_order_margin"),
        ),
    ),
    Scope.SYMBOL: ScopeSpec(
        labels=("account", "base_asset", "symbol", "exchange"),
        fields=SYMBOL_FIELDS,
        asset_fields=WALLET_FIELDS,
        derived=("margin_ratio", "concentration"),
        identities=(("blocked_balance", "position_margin", "open_order_margin"),),
    ),
    Scope.POSITION: ScopeSpec(
        labels=("account", "base_asset", "symbol", "exchange", "side"),
        fields=POSITION_FIELDS,
        asset_fields=WALLET_FIELDS,
        derived=(*POSITION_FIGURES, *REPORTED),
        shown=(*POSITION_FIGURES, *REPORTED),
    ),
}

#: the pages of the exchange that are read
WALLET, POSITIONS = "wallet", "positions"
#: the pages that are asked for what positions need to be judged; they have no rows and no rules
INSTRUMENTS, TRANSACTIONS = "instruments", "transactions"

#: feed -> the scopes whose rows it gives; account rules have a row for each feed
FEEDS: Mapping[str, tuple[Scope, ...]] = {
    WALLET: (Scope.WALLET, Scope.SYMBOL),
    POSITIONS: (Scope.POSITION,),
}

#: scope -> the feed that gives its rows
FEED_OF: Mapping[Scope, str] = {scope: feed for feed, scopes in FEEDS.items() for scope in scopes}

#: scopes whose rows come and go as positions and orders do
PASSING = frozenset({Scope.SYMBOL, Scope.POSITION})

#: what `value` and `when` may name, per scope
NAMES: Mapping[Scope, tuple[str, ...]] = {scope: spec.names for scope, spec in SCOPES.items()}

#: names whose value is a share of something: 1 is all of it, so 40 for 40% is a mistake
RATIOS = frozenset(
    {
        *("margin_ratio", "available_ratio", "concentration"),
        *("maintenance_margin_ratio", "liquidation_distance", "margin_loss"),
    }
)

#: every label that identifies an alert of some scope, each once
LABELS = tuple(dict.fromkeys(label for spec in SCOPES.values() for label in spec.labels))


def in_order(labels: Mapping[str, str]) -> list[str]:
    """The values of an alert's labels, from the widest to the narrowest, as people read them."""
    known = [labels[name] for name in LABELS if name in labels and name != "exchange"]
    return known + [text for name, text in labels.items() if name not in LABELS]
