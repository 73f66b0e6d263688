"""The shape of the rules file: pydantic models, and the JSON Schema made from them.

What a single value must look like stands here; what values mean together stands in config.py.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from alerting import units
from alerting.config.yaml_reader import Number, quoted
from alerting.engine.feeds import Scope
from alerting.engine.model import Severity
from alerting.engine.mute_windows import DAYS, MINUTES_PER_DAY
from alerting.engine.rules import BUILTIN_NAMES

#: marks the parts of pydantic's error locations that are no keys of the file
TAG = "\0"

_Closed = TypeVar("_Closed", bound=enum.Enum)


class BadValueError(ValueError):
    """A value that cannot stand where it does; pydantic takes it for one of its own."""


def show(value: object) -> str:
    """A value as an error quotes it."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "nothing"
    return "a list" if isinstance(value, list) else "a mapping"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or all that is known if nothing is near."""
    # a URL that stands where a name belongs is a secret
    choices = sorted(name for name in known if "://" not in name)
    near = difflib.get_close_matches(name, choices, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(choices)}" if choices else ""


# ── single values ───────────────────────────────────────────────────────────


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadValueError(f"{show(value)} is not a text; put it in quotes")
    if not value.strip():
        raise BadValueError("is empty")
    return value


def _secret_text(value: object) -> str:
    # never quotes the value
    if not isinstance(value, str):
        raise BadValueError("is not a text; put it in quotes")
    if not value.strip():
        raise BadValueError("is empty")
    return value


def _expression(value: object) -> str:
    return value.text if isinstance(value, Number) else _text(value)


def _number(value: object) -> Decimal:
    if isinstance(value, Number):
        return Decimal(value)
    if not isinstance(value, str):
        raise BadValueError(f"{show(value)} is not a number; write 1000, 10_000, 0.25 or 25%")
    return units.parse_number(value)


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise BadValueError(f"{number:f} is negative; 0 or more is allowed")
    return number


def _duration(value: object) -> timedelta:
    if isinstance(value, Number):
        raise BadValueError(
            f"{value.text} has no unit; write {value.text.lstrip('-')}s, 5m, 2h or 1d"
        )
    # a URL that stands where a duration belongs is a secret
    if not isinstance(value, str) or "://" in value:
        raise BadValueError(
            f"{show(value)} is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m"
        )
    return units.parse_duration(value)


def _positive(duration: timedelta) -> timedelta:
    if duration <= units.ZERO:
        raise BadValueError("0s is not allowed; it must be longer than that")
    return duration


def _factor(value: object) -> Decimal:
    number = _number(value)
    # more than this would soon be later than any calendar goes
    if not 1 <= number <= MAX_FACTOR:
        raise BadValueError(f"{number:f} is out of range; 1 to {MAX_FACTOR} is allowed")
    return number


def _changes(value: object) -> int:
    number = _number(value)
    if number != number.to_integral_value() or not 2 <= number <= MAX_CHANGES:
        raise BadValueError(f"{show(value)} is not a whole number from 2 to {MAX_CHANGES}")
    return int(number)


def _minutes(value: object) -> int:
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadValueError(
            f'{show(value)} is not a time of day; write hours and minutes in quotes, as "07:30"'
        )
    return int(match[1]) * 60 + int(match[2])


def _start(value: object) -> int:
    if value == "24:00":
        raise BadValueError("'24:00' can only stand at the end, in to; write \"00:00\"")
    return _minutes(value)


def _end(value: object) -> int:
    return MINUTES_PER_DAY if value == "24:00" else _minutes(value)


def _day_range(value: object) -> tuple[int, ...]:
    """`tue`, or all days of `sat-mon`; 0 is Monday."""
    text = value if isinstance(value, str) else ""
    if text in DAYS:
        return (DAYS.index(text),)
    first, _, last = text.partition("-")
    if first in DAYS and first == last:
        raise BadValueError(f"{show(value)} starts and ends on one day; write {first}")
    if first in DAYS and last in DAYS:
        start, end = DAYS.index(first), DAYS.index(last)
        length = (end - start) % len(DAYS) + 1
        return tuple((start + number) % len(DAYS) for number in range(length))
    meant = "-".join(part.strip()[:3] for part in text.lower().split("-"))
    hint = f"; did you mean {meant!r}?" if re.fullmatch(_DAYS_TEXT, meant) else ""
    raise BadValueError(
        f"{show(value)} is not a day; write {', '.join(DAYS)} or a range such as mon-fri{hint}"
    )


def _rate(value: object) -> tuple[int, timedelta]:
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/(\w+)", text, re.ASCII)
    if match is None:
        raise BadValueError(f"{show(value)} is not a rate; write requests/duration, as 20/60s")
    return int(match[1]), _positive(units.parse_duration(match[2]))


def _patterns(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str):
            raise BadValueError(
                f"{show(item)} is not a name; write a name, a glob such as BTC*, or a list"
            )
        if not item.removeprefix("!").strip() or not item.isprintable():
            raise BadValueError(f"{show(item)} is not a name; write a name or a glob such as BTC*")
    if not items:
        raise BadValueError("is empty; remove the key to match everything")
    return tuple(items)


def one_of(kind: type[_Closed]) -> Callable[[object], _Closed]:
    """Reads a member by its value; anything else is refused with the nearest one."""
    allowed = [str(member.value) for member in kind]

    def read(value: object) -> _Closed:
        text = value if isinstance(value, str) else ""
        if text in allowed:
            return kind(text)
        near = difflib.get_close_matches(text, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadValueError(f"{show(value)} is not one of {', '.join(allowed)}{hint}")

    return read


def _named(pattern: str, *, limit: int = 64) -> Callable[[object], str]:
    shape = re.compile(pattern)

    def read(value: object) -> str:
        text = _text(value)
        if len(text) > limit:
            raise BadValueError(f"{show(text)} is longer than {limit} characters")
        if not shape.fullmatch(text):
            raise BadValueError(f"{show(text)} is not a name; it must match {pattern}")
        return text

    return read


MAX_FACTOR = 100
MAX_CHANGES = 1000
_TIME_OF_DAY = re.compile("([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = f"({'|'.join(DAYS)})"
_DAYS_TEXT = f"{_DAY}(-{_DAY})?"
NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"
RULE_NAME = "[A-Za-z][A-Za-z0-9_.-]*"
LABEL_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_NUMBER_TEXT = "^[-+]?[0-9][0-9_]*(\\.[0-9]+)?%?$"
_DURATION_TEXT = "^([0-9]+(ms|s|m|h|d))+$"

_DURATION_SCHEMA = {"type": "string", "pattern": _DURATION_TEXT, "examples": ["30s", "5m", "1h30m"]}
_NUMBER_SCHEMA = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": _NUMBER_TEXT}],
    "examples": [1000, "20%"],
}
_PATTERNS_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}


def _enumerated(kind: type[enum.Enum]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [member.value for member in kind]})


def _matching(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "maxLength": 64})


_ANY_TEXT = WithJsonSchema({"type": "string", "minLength": 1})

Text = Annotated[str, BeforeValidator(_text), _ANY_TEXT]
SecretText = Annotated[str, BeforeValidator(_secret_text), _ANY_TEXT]
ExpressionText = Annotated[
    str,
    BeforeValidator(_expression),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}),
]
Amount = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]
Tolerance = Annotated[
    Decimal, BeforeValidator(lambda v: _not_negative(_number(v))), WithJsonSchema(_NUMBER_SCHEMA)
]
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration = Annotated[
    timedelta, BeforeValidator(lambda v: _positive(_duration(v))), WithJsonSchema(_DURATION_SCHEMA)
]
Factor = Annotated[
    Decimal,
    BeforeValidator(_factor),
    WithJsonSchema({"type": "number", "minimum": 1, "maximum": MAX_FACTOR}),
]
Changes = Annotated[
    int,
    BeforeValidator(_changes),
    WithJsonSchema({"type": "integer", "minimum": 2, "maximum": MAX_CHANGES}),
]
StartTime = Annotated[
    int,
    BeforeValidator(_start),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME_OF_DAY.pattern}$"}),
]
EndTime = Annotated[
    int,
    BeforeValidator(_end),
    WithJsonSchema({"type": "string", "pattern": f"^({_TIME_OF_DAY.pattern}|24:00)$"}),
]
DayRange = Annotated[
    tuple[int, ...],
    BeforeValidator(_day_range),
    WithJsonSchema({"type": "string", "pattern": f"^{_DAYS_TEXT}$"}),
]
Rate = Annotated[
    tuple[int, timedelta],
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]*/[0-9]+(ms|s|m|h|d)$"}),
]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns), WithJsonSchema(_PATTERNS_SCHEMA)]
SeverityName = Annotated[Severity, BeforeValidator(one_of(Severity)), _enumerated(Severity)]
ScopeName = Annotated[Scope, BeforeValidator(one_of(Scope)), _enumerated(Scope)]
Name = Annotated[str, BeforeValidator(_named(NAME)), _matching(NAME)]
RuleName = Annotated[str, BeforeValidator(_named(RULE_NAME)), _matching(RULE_NAME)]
LabelName = Annotated[str, BeforeValidator(_named(LABEL_NAME)), _matching(LABEL_NAME)]


def _one_or_each(value: object) -> str:
    return f"{TAG}each" if isinstance(value, dict | list) else f"{TAG}one"


_ONE, _EACH = Tag(f"{TAG}one"), Tag(f"{TAG}each")
_Ladder = Annotated[dict[SeverityName, Amount], Field(min_length=1)]
_Delays = Annotated[dict[SeverityName, Duration], Field(min_length=1)]
#: one number, or one per severity
Threshold = Annotated[
    Annotated[Amount, _ONE] | Annotated[_Ladder, _EACH], Discriminator(_one_or_each)
]
#: one duration, or one per severity
Delay = Annotated[
    Annotated[Duration, _ONE] | Annotated[_Delays, _EACH], Discriminator(_one_or_each)
]

# An absent key is None, which pydantic does not validate; a written `null` is refused.
if TYPE_CHECKING:
    from typing import Optional as Maybe
else:

    class Maybe:
        """`Maybe[X]` is X to pydantic."""

        def __class_getitem__(cls, item: object) -> object:
            return item


def _exactly_one(*pairs: tuple[str, str]) -> dict[str, Any]:
    choices = [{"oneOf": [{"required": [a]}, {"required": [b]}]} for a, b in pairs]
    return choices[0] if len(choices) == 1 else {"allOf": choices}


# ── sections ────────────────────────────────────────────────────────────────


class Section(BaseModel):
    """A mapping of the file with a closed set of keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_by_name=False
    )


class Poll(Section):
    """How often and how patiently the exchange is read."""

    interval: PositiveDuration = Field(
        default=timedelta(seconds=15), description="Each account is read once per interval."
    )
    timeout: PositiveDuration = Field(
        default=timedelta(seconds=10),
        description="A poll that takes longer counts as failed; the whole request is meant.",
    )
    blind_after: PositiveDuration = Field(
        default=timedelta(minutes=2),
        description="Without a good snapshot for this long the built-in alert `blind` fires.",
    )


class Account(Section):
    """One account of the exchange."""

    model_config = ConfigDict(
        json_schema_extra=_exactly_one(
            ("api_key", "api_key_file"), ("secret_key", "secret_key_file")
        )
    )

    api_key: Maybe[SecretText] = Field(
        default=None,
        repr=False,
        description="The API key, in hex. ${NAME} is replaced from the environment.",
    )
    api_key_file: Maybe[SecretText] = Field(
        default=None, repr=False, description="Read the API key from this file instead."
    )
    secret_key: Maybe[SecretText] = Field(
        default=None,
        repr=False,
        description="The secret key, in hex. ${NAME} is replaced from the environment.",
    )
    secret_key_file: Maybe[SecretText] = Field(
        default=None, repr=False, description="Read the secret key from this file instead."
    )
    base_url: Maybe[SecretText] = Field(
        default=None, description="Where the exchange is; plain http only on a loopback host."
    )
    rate_limit: Rate = Field(
        default=(20, timedelta(seconds=60)),
        description="The account is asked at most so often, as 20/60s.",
    )


class Receiver(Section):
    """One place where messages go."""

    model_config = ConfigDict(json_schema_extra=_exactly_one(("url", "url_file")))

    url: Maybe[SecretText] = Field(
        default=None,
        repr=False,
        description="Any Apprise URL. ${NAME} is replaced from the environment.",
    )
    url_file: Maybe[SecretText] = Field(
        default=None, repr=False, description="Read the URL from this file instead."
    )
    send_resolved: StrictBool = Field(
        default=True, description="Whether it is told that an alert is over."
    )


class RepeatSection(Section):
    """Reminders that come less and less often."""

    first: PositiveDuration = Field(description="The first reminder comes after this time.")
    factor: Factor = Field(
        default=Decimal(2), description="Each further one waits so many times longer."
    )
    longest: Maybe[PositiveDuration] = Field(
        default=None, alias="max", description="But never longer than this; not less than first."
    )


#: one day or range of days, or a list of them
Days = Annotated[
    Annotated[DayRange, _ONE] | Annotated[list[DayRange], Field(min_length=1), _EACH],
    Discriminator(_one_or_each),
]
#: one duration, or reminders that slow down
RepeatInterval = Annotated[
    Annotated[PositiveDuration, _ONE] | Annotated[RepeatSection, _EACH],
    Discriminator(_one_or_each),
]


class WindowSection(Section):
    """From one time of day to another, by the clock on the wall of some place."""

    days: Days = Field(
        default=tuple(range(len(DAYS))),
        description="The days on which it starts: mon, a range such as mon-fri, or a list of them.",
    )
    from_: StartTime = Field(
        alias="from", description='Hours and minutes in quotes, such as "22:00".'
    )
    to: EndTime = Field(
        description="Exclusive; an end before the start is on the next day. Midnight is 24:00."
    )
    timezone: Text = Field(description="An IANA name, such as Asia/Kolkata.")


class RouteSection(Section):
    """Who is told of which alerts."""

    model_config = ConfigDict(json_schema_extra={"dependentRequired": {"mute_critical": ["mute"]}})

    match: dict[LabelName, Patterns] = Field(
        default_factory=dict,
        description="Label to name, glob or list; all must match. Without it everything matches.",
    )
    receivers: Annotated[list[Text], Field(min_length=1)] = Field(
        description="These receivers are told of every alert that the route takes."
    )
    repeat_interval: RepeatInterval = Field(
        default=timedelta(hours=4),
        description="An alert that still fires is told again after this time.",
    )
    mute: Annotated[list[WindowSection], Field(min_length=1)] = Field(
        default_factory=list,
        description="While one of these windows is open, the receivers are told later.",
    )
    mute_critical: StrictBool = Field(
        default=False, description="Whether critical alerts are held back as well."
    )


class Annotations(Section):
    """Texts for people; Jinja."""

    summary: Maybe[Text] = Field(default=None, description="One line: what is wrong.")
    description: Maybe[Text] = Field(default=None, description="More: what it means.")
    runbook: Maybe[Text] = Field(default=None, description="What to do, or a link to it.")


class RuleSection(Section):
    """One rule: what is watched, and where its lines are."""

    model_config = ConfigDict(json_schema_extra=_exactly_one(("above", "below")))

    name: RuleName = Field(description="Unique; alerts keep their state while it stays the same.")
    per: ScopeName = Field(
        description="One alert per account, per wallet (settlement asset) or per symbol."
    )
    value: ExpressionText = Field(description="The number that is watched, from the API's fields.")
    above: Maybe[Threshold] = Field(
        default=None, description="Breached while the value is greater; one number or a ladder."
    )
    below: Maybe[Threshold] = Field(
        default=None, description="Breached while the value is less; one number or a ladder."
    )
    severity: Maybe[SeverityName] = Field(
        default=None, description="For a single threshold; warning if it is not set."
    )
    clear: Maybe[Threshold] = Field(
        default=None,
        description="A firing alert resolves only at this number or on its safe side.",
    )
    for_: Maybe[Delay] = Field(
        default=None, alias="for", description="It fires when the breach has lasted this long."
    )
    keep_firing_for: Maybe[Delay] = Field(
        default=None, description="It resolves when the value has been clear for this long."
    )
    when: Maybe[ExpressionText] = Field(
        default=None, description="A condition; where it is false, the rule is not breached."
    )
    accounts: Patterns = Field(
        default=(), description="Only these accounts; names or globs, `!` excludes."
    )
    base_assets: Patterns = Field(
        default=(), description="Only these settlement assets; names or globs, `!` excludes."
    )
    symbols: Patterns = Field(
        default=(), description="Only these symbols; names or globs, `!` excludes."
    )
    labels: dict[LabelName, Text] = Field(
        default_factory=dict, description="Added to the alert, for routes and templates."
    )
    annotations: Annotations = Field(
        default_factory=Annotations, description="Texts for the message; Jinja."
    )


class BuiltinSection(Section):
    """What can be set of one built-in alert."""

    severity: Maybe[SeverityName] = Field(default=None, description="How bad it is.")
    for_: Maybe[Duration] = Field(
        default=None, alias="for", description="It fires when the trouble has lasted this long."
    )
    keep_firing_for: Maybe[Duration] = Field(
        default=None, description="It resolves when the trouble has been over for this long."
    )


class Builtin(Section):
    """The built-in alerts, which cannot be turned off."""

    tolerance: Tolerance = Field(
        default=Decimal("0.000001"),
        description="A snapshot whose totals are off by more than this is suspect.",
    )
    blind: BuiltinSection = Field(
        default_factory=BuiltinSection, description="No good snapshot for too long."
    )
    suspect_data: BuiltinSection = Field(
        default_factory=BuiltinSection,
        alias="suspect-data",
        description="The exchange's numbers contradict each other.",
    )
    rule_undefined: BuiltinSection = Field(
        default_factory=BuiltinSection,
        alias="rule-undefined",
        description="A rule cannot be computed.",
    )
    delivery_failing: BuiltinSection = Field(
        default_factory=BuiltinSection,
        alias="delivery-failing",
        description="A receiver cannot be reached.",
    )
    config_invalid: BuiltinSection = Field(
        default_factory=BuiltinSection,
        alias="config-invalid",
        description="The rules file was changed and is wrong; the old one is still used.",
    )

    def sections(self) -> Mapping[str, BuiltinSection]:
        """Built-in alert -> what the file sets of it."""
        return {name: getattr(self, name.replace("-", "_")) for name in BUILTIN_NAMES}


class FlappingSection(Section):
    """When an alert goes up and down too often to tell each time."""

    changes: Changes = Field(
        default=6, description="Flapping is to begin or cease to fire more often than this ..."
    )
    within: PositiveDuration = Field(default=timedelta(minutes=30), description="... in this time.")


class HeartbeatSection(Section):
    """Somebody outside who notices when the pings stop."""

    model_config = ConfigDict(json_schema_extra=_exactly_one(("url", "url_file")))

    url: Maybe[SecretText] = Field(
        default=None,
        repr=False,
        description="It is asked for with GET. ${NAME} is replaced from the environment.",
    )
    url_file: Maybe[SecretText] = Field(
        default=None, repr=False, description="Read the URL from this file instead."
    )
    every: PositiveDuration = Field(
        default=timedelta(minutes=1), description="At most one ping in this time."
    )


class HistorySection(Section):
    """The record of all polls, for replay."""

    keep: Duration = Field(
        default=timedelta(days=30), description="So long; 0s records nothing at all."
    )


class RulesFile(Section):
    """The rules file of `alerting`."""

    poll: Poll = Field(default_factory=Poll, description="How the exchange is read.")
    accounts: Annotated[dict[Name, Account], Field(min_length=1)] = Field(
        description="The accounts that are watched, by a name of your choice."
    )
    receivers: Annotated[dict[Name, Receiver], Field(min_length=1)] = Field(
        description="The places where messages go, by a name of your choice."
    )
    routes: Annotated[list[RouteSection], Field(min_length=1)] = Field(
        description="The first that matches takes the alert; the last must match everything."
    )
    flapping: Maybe[FlappingSection] = Field(
        default=None, description="Without it, every change of an alert is told."
    )
    rules: Annotated[list[RuleSection], Field(min_length=1)] = Field(description="What is watched.")
    builtin: Builtin = Field(
        default_factory=Builtin, description="Settings of the built-in alerts."
    )
    heartbeat: Maybe[HeartbeatSection] = Field(
        default=None, description="A URL that is pinged while everything works."
    )
    history: HistorySection = Field(
        default_factory=HistorySection, description="How long polls are kept, for replay."
    )
    templates: Maybe[Text] = Field(
        default=None, description="A folder with message templates that replace the own ones."
    )
    state: Maybe[Text] = Field(
        default=None, description="The file that keeps the state; relative to the rules file."
    )
    deliver_within: PositiveDuration = Field(
        default=timedelta(hours=24),
        description="A message that could not be delivered for this long is given up.",
    )


class _Schema(GenerateJsonSchema):
    """Defaults as people would write them, and no titles that only repeat the key."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        default = self.get_default_value(schema)
        if isinstance(default, timedelta):
            return {**inner, "default": units.format_duration(default)}
        if isinstance(default, int):
            return {**inner, "default": default}
        if inner.get("type") == "number":
            return {**inner, "default": float(default)}
        return {**inner, "default": units.plain(default)} if isinstance(default, Decimal) else inner

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the rules file, for editors (yaml-language-server)."""
    schema = RulesFile.model_json_schema(by_alias=True, schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
