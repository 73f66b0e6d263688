"""What became of one attempt to send: judged by what the service itself said.

accepted    the service said so in its own way
transient   it was certainly not taken; sending again repeats nothing
unknown     it may have arrived
permanent   it was refused, and would be again
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerting.errors import AlertingError
from alerting.messages.formats import Format
from alerting.messages.phrases import clean
from alerting.net import failures
from alerting.net.hosts import host_of
from alerting.net.http_attempt import HttpAttempt
from alerting.redaction import REDACTOR

MAX_REASON = 200
# Nobody who is to be told of an alert means a longer pause than this.
_LONGEST_PAUSE = timedelta(days=1)


class SendOutcome(enum.Enum):
    """How an attempt ended."""

    ACCEPTED = "accepted"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt's verdict; `reason` is one redacted line of at most 200 characters."""

    outcome: SendOutcome
    reason: str
    #: the service asked to be left alone for so long
    retry_after: timedelta | None = None
    #: it was this text that was refused, not the sender or the address
    payload_refused: bool = False


def attempt(
    outcome: SendOutcome,
    reason: str,
    *,
    retry_after: timedelta | None = None,
    payload_refused: bool = False,
) -> Attempt:
    """Build an Attempt with the reason cleaned, redacted and cut."""
    text = REDACTOR.redact(" ".join(clean(REDACTOR.redact(reason)).split()))
    return Attempt(
        outcome=outcome,
        reason=text[:MAX_REASON],
        retry_after=retry_after,
        payload_refused=payload_refused,
    )


def impossible(error: AlertingError) -> Attempt:
    """It could never be sent, and the error says why."""
    return Attempt(outcome=SendOutcome.PERMANENT, reason=str(error)[:MAX_REASON])


def broken(error: BaseException) -> Attempt:
    """A mistake of ours while sending: it may have arrived."""
    return Attempt(outcome=SendOutcome.UNKNOWN, reason=f"internal error: {type(error).__name__}")


def prevented(error: BaseException) -> Attempt:
    """The machine kept it from being sent, now and not for good; a part may have left."""
    return attempt(SendOutcome.UNKNOWN, f"could not be sent: {failures.explain(error)}")


def verdict(
    requests: Sequence[HttpAttempt], service: Format, *, agreed: bool, error: str
) -> Attempt:
    """Judge by the last request; `agreed` is Apprise's own opinion, `error` what it raised."""
    if not requests:
        return _verdict_unseen(service, agreed=agreed, error=error)
    last = requests[-1]
    if last.status is None:
        if not last.sent:
            return attempt(SendOutcome.TRANSIENT, f"not reached: {last.failure}")
        return attempt(SendOutcome.UNKNOWN, f"no answer, it may have arrived: {last.failure}")
    status = _status(last, service)
    nearer = failures.in_between(status)
    if nearer is not None:
        return attempt(SendOutcome.TRANSIENT, f"not reached: {nearer}")
    if status == 429:
        return _told_to_wait(last)
    if status >= 500:
        reason = f"the service failed with {status}, it may have arrived{_words(last)}"
        return attempt(SendOutcome.UNKNOWN, reason, retry_after=retry_after(last))
    if 200 <= status < 300:
        return _verdict_success(last, service, agreed=agreed)
    if status < 400:
        return attempt(
            SendOutcome.TRANSIENT, f"redirected ({status}){_elsewhere(last)}: not followed"
        )
    if status in {408, 425}:
        return attempt(SendOutcome.TRANSIENT, f"{status}: the request was not taken")
    return _refused(last, service, status)


def _verdict_unseen(service: Format, *, agreed: bool, error: str) -> Attempt:
    """Judge a service that Apprise reaches otherwise than by HTTP, or did not try to reach."""
    if error:
        return attempt(SendOutcome.PERMANENT, f"could not be sent: {error}")
    if service in {Format.SLACK, Format.TELEGRAM, Format.DISCORD}:
        return attempt(SendOutcome.PERMANENT, "Apprise did not try to send it")
    if agreed:
        return attempt(SendOutcome.ACCEPTED, "accepted, says Apprise")
    return attempt(SendOutcome.UNKNOWN, "Apprise could not send it and does not say why")


_SLACK_STATUS = {
    "ratelimited": 429,
    "rate_limited": 429,
    "internal_error": 500,
    "fatal_error": 500,
    "service_unavailable": 503,
    "request_timeout": 500,
}


def _status(request: HttpAttempt, service: Format) -> int:
    """Give the status, or what the body says instead: bot services say 200 to everything."""
    status, answer = request.status or 0, request.answer
    if status != 200 or answer.get("ok") is not False:
        return status
    if service is Format.SLACK:
        return _SLACK_STATUS.get(str(answer.get("error")), 403)
    code = answer.get("error_code")
    return code if isinstance(code, int) and 400 <= code < 600 else 403


def _verdict_success(request: HttpAttempt, service: Format, *, agreed: bool) -> Attempt:
    if not request.complete:
        reason = f"{request.status}, but the answer was cut short: {request.failure}"
        return attempt(SendOutcome.UNKNOWN, reason)
    if service in {Format.SLACK, Format.TELEGRAM}:
        plain_ok = service is Format.SLACK and request.body.strip() == b"ok"
        if plain_ok or request.answer.get("ok") is True:
            return attempt(SendOutcome.ACCEPTED, "accepted")
        return _doubtful(request, "without the service's ok")
    if _is_page(request):
        return _doubtful(request, "with a web page")
    if not agreed:
        return _doubtful(request, f"but Apprise does not take it for a yes{_words(request)}")
    return attempt(SendOutcome.ACCEPTED, f"accepted ({request.status})")


def _doubtful(request: HttpAttempt, what: str) -> Attempt:
    reason = f"{request.status} {what}: something in between answered?"
    return attempt(SendOutcome.UNKNOWN, reason)


def _is_page(request: HttpAttempt) -> bool:
    start = request.body[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = request.headers.get("content-type", "").lower()
    return kind.startswith("text/html") or start.startswith((b"<!doctype html", b"<html"))


def _told_to_wait(request: HttpAttempt) -> Attempt:
    pause = retry_after(request)
    asked = f", asks for {pause.total_seconds():g} s" if pause is not None else ""
    return attempt(SendOutcome.TRANSIENT, f"429 too many requests{asked}", retry_after=pause)


def retry_after(request: HttpAttempt, *, now: datetime | None = None) -> timedelta | None:
    """How long the service asked to be left alone: in its JSON, else in Retry-After."""
    answer = request.answer
    parameters = answer.get("parameters")
    told = parameters.get("retry_after") if isinstance(parameters, dict) else None
    for seconds in (told, answer.get("retry_after"), request.headers.get("retry-after")):
        pause = _pause(seconds, now or datetime.now(UTC))
        if pause is not None:
            return min(pause, _LONGEST_PAUSE)
    return None


def _pause(told: object, now: datetime) -> timedelta | None:
    if isinstance(told, bool) or not isinstance(told, (int, float, str)):
        return None
    pause = failures.retry_after(str(told), now=now, parts=True)
    return None if pause is None else max(pause, timedelta(0))


# Slack: these speak of the message; all else speaks of the token, the channel or the app.
_SLACK_PAYLOAD = re.compile(
    r"invalid_payload|invalid_blocks\w*|invalid_attachments|invalid_arguments|invalid_json|no_text"
    r"|missing_text\w*|too_many_attachments|msg_too_long|msg_blocks_too_long|invalid_form_data"
    r"|text_too_long|invalid_post_type|cannot_parse\w*"
)
# Telegram says 400 to both; these speak of the chat.
_TELEGRAM_CHAT = re.compile(
    r"chat not found|chat_id|peer_id|user not found|rights|supergroup|topic|thread|deactivated"
    r"|kicked|blocked|not a member|bots? can't|upgraded|forbidden",
    re.IGNORECASE,
)


def _refused(request: HttpAttempt, service: Format, status: int) -> Attempt:
    hint = _migration(request) if service is Format.TELEGRAM else ""
    reason = f"refused with {request.status}{_words(request)}{hint}"
    about_text = not hint and _about_payload(request, service, status)
    return attempt(SendOutcome.PERMANENT, reason, payload_refused=about_text)


def _about_payload(request: HttpAttempt, service: Format, status: int) -> bool:
    if service is Format.SLACK:
        return bool(_SLACK_PAYLOAD.search(_words(request))) or status == 413
    if service is Format.TELEGRAM:
        return status in {400, 413} and not _TELEGRAM_CHAT.search(_words(request))
    return status in {400, 413, 422}


def _migration(request: HttpAttempt) -> str:
    parameters = request.answer.get("parameters")
    chat = parameters.get("migrate_to_chat_id") if isinstance(parameters, dict) else None
    if isinstance(chat, bool) or not isinstance(chat, int):
        return ""
    return f"; the group has become a supergroup: put chat id {chat} into the receiver's URL"


def _words(request: HttpAttempt) -> str:
    """What the service says about it: ": invalid_auth"."""
    answer = request.answer
    for key in ("description", "error", "message", "detail"):
        if isinstance(answer.get(key), str):
            # masked first: of a token that is cut through, nobody would know the first half
            return f": {REDACTOR.redact(answer[key])[:120]}"
    if not answer and not _is_page(request) and 0 < len(request.body) <= 120:
        return f": {request.body.decode('utf-8', 'replace')}"
    return ""


def _elsewhere(request: HttpAttempt) -> str:
    host = host_of(request.headers.get("location", ""))
    return f" to {host[:60]}" if host else ""
