"""What a column of a log is for, by its name: what was seen, what was done, and what is neither."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Role = Literal["observation", "action", "reward", "done", "time", "episode", "index", "label"]

_ROLES: tuple[tuple[Role, re.Pattern[str]], ...] = tuple(
    (role, re.compile(rf"(next[._])?({words})s?([._]?\d+)?"))  # type: ignore[misc]
    for role, words in (
        ("action", "action|act|actuator|command|cmd|control|ctrl|motor_command|setpoint"),
        ("reward", "reward|rew|return|score|success"),
        ("done", "done|terminal|timeout|terminated|truncated|termination|truncation|is_last"),
        ("time", "time|timestamp|stamp|t|ts|sec|second|datetime|date|time_m?s|time_ns"),
        ("episode", "(episode|trajectory|traj|run)[_ ]?(index|id|no|nr|number)?"),
        ("index", "index|idx|frame|frame_index|step|row|row_id|sample|task_index|unnamed: 0|id|"),
        ("label", "label|class|classe|category|target|activity|condition|fault|anomaly|subject|"
                  "speaker|patient|state_label|behavior|behaviour|gesture|exercise|split|fold|task"),
    )
)  # fmt: skip

_STEM = re.compile(r"^(action|act|command|cmd|control|ctrl)[s]?[._\[/ ]|^(a|u)_?\d+$")
"""What actions of several dimensions begin with, such as ``action.elbow`` or ``u3``."""


_COPY = re.compile(r"^(next_(obs|observation)s?|infos?|info)\b")
"""What says again what the next row says, or what no sensor knows."""


def role(name: str) -> Role:
    """Return what a column is for; what no name tells is an observation.

    >>> role("action.elbow"), role("timestamp"), role("next.reward"), role("joint_3")
    ('action', 'time', 'reward', 'observation')
    """
    word = name.strip().lower()
    if _COPY.match(word):
        return "index"
    for known, pattern in _ROLES:
        if pattern.fullmatch(word):
            return known
    return "action" if _STEM.match(word) else "observation"


def channels(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of observations and of actions, in order.

    >>> channels(["t", "x", "action.0", "label"])
    (('x',), ('action.0',))
    """
    found = [(name, role(name)) for name in names]
    return (
        tuple(name for name, kind in found if kind == "observation"),
        tuple(name for name, kind in found if kind == "action"),
    )
