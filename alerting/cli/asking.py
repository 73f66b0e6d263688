"""Questions on a terminal; secrets are typed unseen."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

#: Says what is wrong with an answer; None: nothing.
Judge = Callable[[str], str | None]


def at_a_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, default: str = "", *, judge: Judge = lambda _: None) -> str:
    """An answer that the judge takes; an empty one means the default."""
    shown = f"{question} [{default}]: " if default else f"{question}: "
    return _until_right(lambda: input(shown).strip() or default, judge)


def ask_secret(question: str, *, judge: Judge = lambda _: None) -> str:
    """As `ask`, without an echo."""
    return _until_right(lambda: getpass.getpass(f"{question}: ").strip(), judge)


def agree(question: str) -> bool:
    """Yes, unless somebody says no."""
    answer = ask(f"{question} [Y/n]", judge=_no_yes_or_no)
    return answer[:1].lower() != "n"


def _no_yes_or_no(answer: str) -> str | None:
    return None if answer.lower() in {"", "y", "yes", "n", "no"} else "yes or no?"


def _until_right(once: Callable[[], str], judge: Judge) -> str:
    while True:
        answer = once()
        problem = judge(answer)
        if problem is None:
            return answer
        print(f"  {problem}", file=sys.stderr)
