"""How every answer's rows are read: what cannot be read is a flaw of its row, the rest is good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from alerting.engine.feeds import Scope
from alerting.engine.snapshot import FailureKind, Flaw
from alerting.exchanges.strict_json import AnswerError, JsonNumber, amount, refuse_twice, shown
from alerting.redaction import clean

LONGEST_NAME = 64
# The exchange lists about 550 pairs; more rows than this is an attack or an accident, and
# judging each of a million broken rows would take longer than a poll may.
MOST_ROWS = 5000


def object_of(answer: object) -> Mapping[str, object]:
    """An answer that is an object, each of whose keys stands in it once; else AnswerError."""
    if not isinstance(answer, dict):
        raise wrong(f"the answer is {shown(answer)}, not an object")
    refuse_twice(answer)
    return answer


def data_of(answer: Mapping[str, object]) -> object:
    """The answer's `data`; AnswerError, with its message, where it has none."""
    data = answer.get("data")
    if data is None:
        message = answer.get("message")
        said = f': "{clean(message)}"' if isinstance(message, str) and message else ""
        raise wrong(f"the answer has no data{said}")
    return data


def object_in(value: object, where: str) -> Mapping[str, object]:
    """A value that is an object, each of whose keys stands in it once; else AnswerError."""
    if not isinstance(value, dict):
        raise wrong(f"{where}: {shown(value)} is not an object")
    refuse_twice(value)
    return value


def list_in(value: object, where: str) -> list[object]:
    """A value that is a list of not too many rows; else AnswerError."""
    if not isinstance(value, list):
        raise wrong(f"{where}: {shown(value)} is not a list")
    refuse_many(where, value)
    return value


def refuse_many(where: str, rows: Sequence[object] | Mapping[str, object]) -> None:
    """AnswerError for more rows than there can be."""
    if len(rows) > MOST_ROWS:
        raise wrong(f"{where}: {len(rows)} rows are more than {MOST_ROWS}")


def name_of(value: object) -> str:
    """A value that is a name; ValueError for all else."""
    if not isinstance(value, str) or isinstance(value, JsonNumber):
        raise ValueError(f"{shown(value)} is not a text")  # noqa: TRY004 - as amount() says it
    if not value.strip() or len(value) > LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{shown(value)} is not a name of 1 to {LONGEST_NAME} characters")
    return value


def summary(flaws: Sequence[Flaw]) -> str:
    """The first of some flaws, and how many more there are."""
    more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return f"{flaws[0].text}{more}"


def wrong(text: str) -> AnswerError:
    """What an answer of the wrong shape raises."""
    return AnswerError(FailureKind.WRONG_SHAPE, text)


class RowReader:
    """Reads row by row, and keeps what it cannot read as a flaw of what it could read so far."""

    def __init__(self) -> None:
        self.flaws: list[Flaw] = []

    def objects(
        self, found: list[object], path: str, scope: Scope
    ) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Where each row stands, and the row; one that is no object is a flaw of nobody."""
        for number, raw in enumerate(found):
            where = f"{path}[{number}]"
            if isinstance(raw, dict):
                yield where, raw
            else:
                self.flaw(f"{where}: {shown(raw)} is not an object", scope, None)

    def names(
        self, raw: Mapping[str, object], wanted: Sequence[str], where: str, scope: Scope
    ) -> dict[str, str] | None:
        """The row's names; None: not all of them can be read, and a flaw says so."""
        names, problems = {}, []
        for key in wanted:
            try:
                names[key] = name_of(raw[key])
            except KeyError:
                problems.append(f"{where}.{key}: missing")
            except ValueError as error:
                problems.append(f"{where}.{key}: {error}")
        if not problems:
            return names
        # without its own name a row is nobody's; the totals tell whose margin is not listed
        self.flaw("; ".join(problems), scope, names if wanted[0] in names else None)
        return None

    def amounts(
        self,
        raw: Mapping[str, object],
        wanted: Sequence[str],
        where: str,
        scope: Scope,
        names: Mapping[str, str],
    ) -> dict[str, Decimal]:
        """The row's numbers; one that is absent or null is left out, an odd one is a flaw too."""
        fields = {}
        for key in wanted:
            try:
                number = amount(raw.get(key))
            except ValueError as error:
                self.flaw(f"{where}: {key}: {error}", scope, names)
                continue
            if number is not None:
                fields[key] = number
        return fields

    def flaw(self, text: str, scope: Scope, labels: Mapping[str, str] | None) -> None:
        """Keep a flaw; `labels` are those of what it touches, None: of a row without a name."""
        self.flaws.append(Flaw(text=text, scope=scope, labels=labels))
