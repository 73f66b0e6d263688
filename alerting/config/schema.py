"""The sections of the rules file as pydantic models, and the JSON Schema made from them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from alerting import units
from alerting.config.values import (
    EACH,
    ONE,
    Changes,
    Days,
    Delay,
    Duration,
    EndTime,
    ExpressionText,
    Factor,
    GroupingName,
    LabelName,
    Name,
    Patterns,
    PositiveDuration,
    Rate,
    RuleName,
    ScopeName,
    SecretText,
    SeverityName,
    StartTime,
    Text,
    Threshold,
    Tolerance,
    one_or_each,
)
from alerting.display import Grouping
from alerting.engine.mute_windows import DAYS
from alerting.engine.rules import BUILTIN_NAMES

# mypy takes the two for one only so
if TYPE_CHECKING:
    from typing import Optional as Maybe
else:
    from alerting.config.values import Maybe


def _exactly_one(*pairs: tuple[str, str]) -> dict[str, Any]:
    choices = [{"oneOf": [{"required": [a]}, {"required": [b]}]} for a, b in pairs]
    return choices[0] if len(choices) == 1 else {"allOf": choices}


class Section(BaseModel):
    """A mapping of the file with a closed set of keys.

    A value that cannot be read is its default, an empty list or mapping, or None: a single value
    without a default is therefore `Maybe`, also where the key is required.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_by_name=False
    )


class Poll(Section):
    """How often and how patiently the exchange is read."""

    interval: PositiveDuration = Field(
        default=timedelta(seconds=15), description="Each account is read once per interval."
    )
    positions: Maybe[PositiveDuration] = Field(
        default=None,
        description="How often the positions are read, where a rule is `per: position`; without "
        "it, as often as the wallet.",
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

    first: Maybe[PositiveDuration] = Field(description="The first reminder comes after this time.")
    factor: Factor = Field(
        default=Decimal(2), description="Each further one waits so many times longer."
    )
    longest: Maybe[PositiveDuration] = Field(
        default=None, alias="max", description="But never longer than this; not less than first."
    )


#: one duration, or reminders that slow down
RepeatInterval = Annotated[
    Annotated[PositiveDuration, ONE] | Annotated[RepeatSection, EACH],
    Discriminator(one_or_each),
]


class WindowSection(Section):
    """From one time of day to another, by the clock on the wall of some place."""

    days: Days = Field(
        default=tuple(range(len(DAYS))),
        description="The days on which it starts: mon, a range such as mon-fri, or a list of them.",
    )
    from_: Maybe[StartTime] = Field(
        alias="from", description='Hours and minutes in quotes, such as "22:00".'
    )
    to: Maybe[EndTime] = Field(
        description="Exclusive; an end before the start is on the next day. Midnight is 24:00."
    )
    timezone: Maybe[Text] = Field(description="An IANA name, such as Asia/Kolkata.")


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

    name: Maybe[RuleName] = Field(
        description="Unique; alerts keep their state while it stays the same."
    )
    per: Maybe[ScopeName] = Field(
        description="One alert per account, per wallet (settlement asset) or per symbol."
    )
    value: Maybe[ExpressionText] = Field(
        description="The number that is watched, from the API's fields. ago(x, 1h), delta(x, 1h), "
        "min_over_time, max_over_time, avg_over_time and predict_linear(x, 30m, 1h) look back."
    )
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
    enabled: StrictBool = Field(
        default=True, description="`false` parks the rule: it is checked, but not judged."
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


class SuspectDataSection(BuiltinSection):
    """And of the one about answers that cannot be trusted."""

    forget_after: PositiveDuration = Field(
        default=timedelta(hours=1),
        description="A settlement asset away from good answers for so long is gone for good.",
    )


class Builtin(Section):
    """The built-in alerts, which cannot be turned off."""

    tolerance: Tolerance = Field(
        default=Decimal("0.000001"),
        description="Totals or a row whose numbers are off by more than this are suspect.",
    )
    blind: BuiltinSection = Field(
        default_factory=BuiltinSection, description="No good snapshot for too long."
    )
    suspect_data: SuspectDataSection = Field(
        default_factory=SuspectDataSection,
        alias="suspect-data",
        description="A part of an answer cannot be read, is missing, or contradicts another.",
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
        default=6,
        description="Flapping is to begin or cease to fire, or to change the severity, more often "
        "than this ...",
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


class DisplaySection(Section):
    """How people read numbers and instants."""

    timezone: Maybe[Text] = Field(
        default=None, description="An IANA name, such as Asia/Kolkata; without it, UTC."
    )
    grouping: GroupingName = Field(
        default=Grouping.NONE,
        description="12,34,567.89 is `indian`, 1,234,567.89 `thousands`, 1234567.89 `none`.",
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
    display: DisplaySection = Field(
        default_factory=DisplaySection,
        description="How numbers and instants are shown to people.",
    )
    templates: Maybe[Text] = Field(
        default=None, description="A folder with message templates that replace the own ones."
    )
    state: Maybe[Text] = Field(
        default=None, description="The file that keeps the state; relative to the rules file."
    )
    state_file: Maybe[Text] = Field(
        default=None, description="A file that says where the state is, instead of `state`."
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
        if isinstance(default, enum.Enum):
            return {**inner, "default": default.value}
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
