"""The JetStream stream under a tape: append-only in fact, without limits, and checked before it is trusted."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from events.decision import Decision
from events.tape import TapeError

from .bus import NAME_IN_USE, NO_STREAM, ApiError, Bus

_PATIENCE_S = 10.0  # covers the election of a stream leader, which takes up to a few seconds

# What a tape rests on: nothing may be deleted, expired, rolled up, replaced or renamed.
_REQUIRED: dict[str, Any] = {
    "retention": "limits",
    "storage": "file",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msgs_per_subject": -1,
    "deny_delete": True,
    "deny_purge": True,
}
ARCHIVE = "tape-archive"  # metadata of a stream whose oldest messages stand in an archive only: where that is
RESTORING = "tape-restoring"  # metadata of a stream into which an archive is being read: how far it will go
RESTORED = "tape-restored"  # metadata: up to this sequence, messages carry their first append time in a header

_FORBIDDEN = (
    "mirror", "sources", "subject_transform", "republish", "allow_msg_ttl", "allow_rollup_hdrs", "allow_msg_schedules",
    "allow_msg_counter", "no_ack", "sealed",
)  # fmt: skip


class Found(msgspec.Struct, frozen=True):
    """A stream as it was found: `first` is the oldest sequence it still holds, `restored` 0 where it never was."""

    replicas: int
    first: int = 1
    end: int = 0
    restored: int = 0
    archive: str = ""


class Known(NamedTuple):
    """What a writer knows to be an actor's last message, and over which connection it learned it."""

    key: tuple[str, int]
    epoch: int
    seq: int
    reconnects: int

    def says(self, decision: Decision, epoch: int) -> bool:
        return (self.key, self.epoch) == (decision.key, epoch)


NOTHING = Known(("", 0), 0, 0, 0)


def found(info: dict[str, Any]) -> Found:
    """From the server's answer about a stream."""
    config, state = info["config"], info["state"]
    told = config.get("metadata") or {}
    return Found(
        int(config.get("num_replicas", 1)),
        max(1, int(state["first_seq"])),
        int(state["last_seq"]),
        int(told.get(RESTORED, 0)),
        told.get(ARCHIVE, ""),
    )


def closed_subject(name: str) -> str:
    """What a stream listens to while old messages are dropped: nobody can publish there, so nothing is appended."""
    return f"$TAPE.closed.{name}"


async def open_stream(bus: Bus, name: str, *, replicas: int, create: bool) -> Found:
    """Finds or creates the stream. Raises TapeError where it cannot serve as a tape."""
    try:
        info = await bus.ask_patiently(f"STREAM.INFO.{name}", patience_s=_PATIENCE_S)
    except ApiError as error:
        if error.code != NO_STREAM:
            raise
        if not create:
            raise TapeError(f"there is no tape `{name}` on this NATS server") from error
        info = await _create(bus, name, replicas)
    check(name, info["config"])
    stream = found(info)
    if create and stream.replicas != replicas:
        raise TapeError(
            f"the stream `{name}` has {stream.replicas} replica(s), not {replicas}: name another tape, or change the "
            f"stream with `nats stream edit {name} --replicas {replicas}`"
        )
    return stream


def config_of(name: str, replicas: int) -> dict[str, Any]:
    """The configuration of a new stream for a tape."""
    return {
        "name": name,
        "subjects": [f"{name}.>"],
        "num_replicas": replicas,
        "discard": "new",  # were a limit ever set, appends are to fail, not history to vanish
        "duplicate_window": 120_000_000_000,  # ns; the server's default, stated
        "allow_direct": False,  # a direct get may be answered by a replica that lags: no base for a decision
        **_REQUIRED,
    }


async def _create(bus: Bus, name: str, replicas: int) -> Any:
    config = config_of(name, replicas)
    try:
        return await bus.ask_patiently(f"STREAM.CREATE.{name}", config, patience_s=_PATIENCE_S)
    except ApiError as error:
        if error.code != NAME_IN_USE:
            raise TapeError(f"cannot create the tape `{name}` with {replicas} replica(s): {error}") from error
        return await bus.ask_patiently(f"STREAM.INFO.{name}", patience_s=_PATIENCE_S)


def check(name: str, config: dict[str, Any]) -> None:
    """Raises TapeError naming every setting with which a stream cannot be a tape."""
    if config.get("subjects") == [closed_subject(name)]:
        raise TapeError(
            f"the tape `{name}` is closed, for old messages were being dropped from it; nothing is lost: "
            "`tape retain` goes on, and opens it again"
        )
    if RESTORING in (config.get("metadata") or {}):
        raise TapeError(
            f"the tape `{name}` is being restored from an archive and not whole yet; `tape restore` goes on with it"
        )
    wrong = [
        f"{key} is {config.get(key)!r}, not {want!r}" for key, want in _REQUIRED.items() if config.get(key) != want
    ]
    wrong += [f"{key} is set" for key in _FORBIDDEN if config.get(key)]
    if config.get("subjects") != [f"{name}.>"]:
        wrong.append(f"its subjects are {config.get('subjects')}, not ['{name}.>']")
    if wrong:
        raise TapeError(f"the stream `{name}` exists but cannot be a tape: {'; '.join(wrong)}; name another tape")
