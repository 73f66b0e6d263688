"""What is printed."""

from __future__ import annotations

import io
import sys

import pytest

from alerting.display import Display, Grouping
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.replay.replay import Options, replay
from tests.support.factories import (
    T0,
    WARNING,
    S,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)
from tests.support.replays import (
    FALL,
    RULES,
    STEP,
    polls,
    recorded,
    run,
    run_json,
    series,
)


def test_the_json_lines_are_the_contracts(folder):
    labels = {"topic": "money", "account": "main", "base_asset": "USDT"}
    alert = {"id": "hugojv6", "rule": "floor", "labels": labels}

    def transition(at, severity, source, target, value, reason):
        change = {"rule": "floor", "labels": labels, "severity": severity}
        change |= {"from": source, "to": target, "value": value, "reason": reason}
        return {"at": f"2026-01-01T00:{at}Z", "transition": change}

    def notification(at, receiver, severity, reason):
        told = {"receiver": receiver, "reason": reason, "account": "main"}
        told["alerts"] = [alert | {"severity": severity, "reason": reason}]
        return {"at": f"2026-01-01T00:{at}Z", "notification": told}

    assert run_json(folder, RULES, FALL) == [
        transition("00:30", "warning", "inactive", "pending", "900", "breach"),
        transition("01:00", "warning", "pending", "firing", "900", "breach held"),
        notification("01:00", "desk", "warning", "firing"),
        transition("01:15", "critical", "inactive", "firing", "200", "breach"),
        notification("01:15", "desk", "critical", "escalated"),
        notification("01:15", "phone", "critical", "firing"),
        transition("01:45", "warning", "firing", "resolved", "1200", "clear"),
        transition("01:45", "critical", "firing", "resolved", "1200", "clear"),
        notification("01:45", "desk", "critical", "resolved"),
        notification("01:45", "phone", "critical", "resolved"),
    ]


def test_the_text_is_readable_at_a_glance(folder):
    assert (
        run(folder, RULES, FALL)
        == """\
2026-01-01T00:00:30Z  inactive → pending  warning   floor             main/USDT  900 < 1000  breach
2026-01-01T00:01:00Z  pending → firing    warning   floor             main/USDT  900 < 1000  breach held
2026-01-01T00:01:00Z  => desk: firing     warning floor main/USDT hugojv6
2026-01-01T00:01:15Z  inactive → firing   critical  floor             main/USDT  200 < 250  breach
2026-01-01T00:01:15Z  => desk: escalated  critical floor main/USDT hugojv6
2026-01-01T00:01:15Z  => phone: firing    critical floor main/USDT hugojv6
2026-01-01T00:01:45Z  firing → resolved   warning   floor             main/USDT  1200  clear
2026-01-01T00:01:45Z  firing → resolved   critical  floor             main/USDT  1200  clear
2026-01-01T00:01:45Z  => desk: resolved   critical floor main/USDT hugojv6
2026-01-01T00:01:45Z  => phone: resolved  critical floor main/USDT hugojv6

2026-01-01T00:00:00Z to 2026-01-01T00:02:00Z (2m): 8 snapshots and 1 failed poll of 1 account

RULE   EPISODES       FIRING  MESSAGES  PER WEEK  AT NIGHT
floor         1  45s (37.5%)         5         -         5

RECEIVER  MESSAGES  PER WEEK  AT NIGHT
desk             3         -         3
phone            2         -         2
""".splitlines()
    )


def test_numbers_are_written_as_in_the_messages(folder):
    line = make_threshold(WARNING, "0.5")
    share = make_rule("share", "total_available_balance / 2000", line, percent=True)
    amount = make_rule("amount", "total_available_balance / 3", make_threshold(WARNING, "500"))
    lines = run(
        folder,
        make_ruleset(share, amount),
        "1000 999.9 5000",
        display=Display(grouping=Grouping.THOUSANDS),
    )
    shown = [line for line in lines if "breach" in line or "clear" in line]
    assert [line.partition("main/USDT  ")[2] for line in shown] == [
        "333.33333333… < 500  breach",
        "49.995% < 50%  breach",
        "250%  clear",
        "1,666.66666666…  clear",
    ]


def test_a_terminal_gets_colours():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        line = "".join(recorded(*poll) for poll in polls(series("100")))
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
        replay(RULES, Options(file="-"), out=out)

    assert "\x1b[31;1minactive → firing   critical\x1b[0m  floor" in out.getvalue()


def test_without_a_file_to_write_to_it_is_standard_output(folder, capsys):
    (folder / "f").write_text("")
    replay(RULES, Options(file=str(folder / "f")))

    assert capsys.readouterr().out.startswith("no polls")


def test_many_alerts_in_one_message_are_counted(folder):
    rows = [make_symbol(f"{name}USDT", "900") for name in "ABCDE"]
    rule = make_rule("big", "blocked_balance", scope=Scope.SYMBOL, direction=Direction.ABOVE)
    snapshot = make_snapshot(make_wallet("9000", position="4500"), symbols=rows)

    lines = run(folder, make_ruleset(rule), [recorded(snapshot, T0)])

    [told] = [line for line in lines if "=>" in line]
    assert told.count("warning big main/USDT/") == 3
    assert told.endswith(", and 2 more")


def test_an_empty_recording_says_so(folder):
    assert run(folder, RULES, []) == ["no polls in this recording, or none within --from and --to"]
    assert run(folder, RULES, [], against=RULES)[0].startswith("no polls in this recording")
    assert run(folder, RULES, [], json=True) == []


def test_limits_take_the_first_instant_and_leave_the_last(folder):
    found = run_json(folder, RULES, FALL, since=T0 + 75 * S, until=T0 + 105 * S)

    assert {line["at"] for line in found} == {"2026-01-01T00:01:15Z"}


def test_after_the_upper_limit_nothing_is_read(folder):
    lines = [recorded(*poll) for poll in polls(["1", "1"])] + ["rubbish\n"]

    assert run_json(folder, RULES, lines, until=T0 + STEP)


def test_an_account_that_the_rules_file_does_not_name_is_judged_too(folder):
    snapshot = make_snapshot(make_wallet("100"), account="other")

    lines = run_json(folder, RULES, [recorded(snapshot, T0)])

    assert {line["transition"]["labels"]["account"] for line in lines if "transition" in line} == {
        "other"
    }
