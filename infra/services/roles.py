"""Who may do what on the bus: one table, from which the server's accounts, the documentation and the tests are made.

Each tape has an account of its own that holds nothing but its stream, and no user; each role has an account that holds
nothing but its users. All that passes between the two is imported here, one by one. So what a server writes by itself,
an answer to a `reply` or a consumer's delivery, cannot reach a tape: the one stays in the asker's account, the other in
the tape's, where all there is belongs to the stream, and a consumer that would feed its own stream is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from infra.tapes.access import BARE_API, ROLE_API, inbox

ENTITIES = (
    "feed", "market", "bot", "account", "venue", "command", "session", "supervisor", "lease", "quarantine", "archive",
)  # fmt: skip
"""First words of all actors that a tape of this system holds: see events/subjects.py."""
READING = (
    "STREAM.INFO.{tape}", "STREAM.MSG.GET.{tape}", "CONSUMER.CREATE.{tape}.>", "CONSUMER.DELETE.{tape}.*", "INFO",
)  # fmt: skip
PULLING = ("CONSUMER.MSG.NEXT.{tape}.>",)
CREATING = ("STREAM.CREATE.{tape}",)
RETAINING = ("STREAM.UPDATE.{tape}", "CONSUMER.LIST.{tape}")


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """`writes`: first words of the actors it may append as. `api`: what of JetStream's API it may call.

    `says` and `hears`: subjects of lock-step below `lockstep.<tape>.`; `answers`: it says how it is to who `asks`;
    `who` is one line for the documentation.
    """

    name: str
    who: str
    writes: tuple[str, ...] = ()
    api: tuple[str, ...] = READING
    says: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    answers: bool = False
    asks: bool = False


def _actor(name: str, entity: str, who: str) -> Role:
    return Role(name=name, who=who, writes=(entity,), says=(f"report.{entity}",), hears=("ask", f"permit.{entity}.>"))


ROLES = (
    Role(name="feed", who="feeds, the player of recorded data, importers", writes=("feed", "quarantine")),
    _actor("symbol", "market", "processes of symbols"),
    _actor("bot", "bot", "processes of bots"),
    _actor("account", "account", "processes of accounts"),
    Role(name="gateway", who="venue gateways", writes=("venue",)),
    Role(name="projector", who="the projector", api=(*READING, *PULLING)),
    Role(
        name="session",
        who="the session: creates the tape, records plan, lease and what its supervisor saw, conducts lock-step",
        writes=("session", "supervisor", "lease"),
        api=(*READING, *CREATING),
        says=("ask", "permit.>"),
        hears=("report.*",),
        answers=True,
        asks=True,
    ),
    Role(
        name="operator",
        who="commands by people",
        writes=("command", "quarantine"),
        api=(*READING, *CREATING),
        asks=True,
    ),
    Role(
        name="archivist",
        who="restoring into an empty tape, and dropping what an archive holds",
        writes=ENTITIES,
        api=(*READING, *CREATING, *RETAINING),
    ),
    Role(name="viewer", who="commands that look, the NATS CLI", api=(*READING, *PULLING), asks=True),
)
PRESENCE = "presence.*.*"
"""Tape and epoch of the session that is asked: `infra.session.lease`."""

NAMES = tuple(role.name for role in ROLES)


def role(name: str) -> Role:
    return next(one for one in ROLES if one.name == name)


def tape_account(tape: str) -> str:
    return f"TAPE_{tape}"


def subjects_of(one: Role, tape: str) -> list[str]:
    """What a role may append on a tape."""
    return [f"{tape}.{entity}.>" for entity in one.writes]


def accounts(keys: Mapping[str, str], tapes: Sequence[str]) -> str:
    """The server's configuration: accounts and users of all roles; `keys` are their public keys. Holds no secret."""
    parts = [*(_tape(tape) for tape in tapes), *(_role(one, keys[one.name], tapes) for one in ROLES)]
    return "# Generated: who may do what, see infra/services/roles.py.\naccounts {\n" + "".join(parts) + "}\n"


def _tape(tape: str) -> str:
    exports: list[dict[str, object]] = []
    for one in ROLES:
        exports += [{"service": subject, "accounts": [one.name]} for subject in subjects_of(one, tape)]
        exports.append({"stream": f"{inbox(one.name)}.>", "accounts": [one.name]})
    exports += [{"service": subject, "accounts": who, **more} for subject, who, more in _shared(tape)]
    lines = "".join(f"      {json.dumps(export)}\n" for export in _merged(exports))
    return f"  {json.dumps(tape_account(tape))}: {{\n    jetstream: enabled\n    exports: [\n{lines}    ]\n  }}\n"


def _shared(tape: str) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    for call in sorted({call for one in ROLES for call in one.api}):
        more = {"response_type": "stream"} if call in PULLING else {}
        yield f"{BARE_API}.{call.format(tape=tape)}", [one.name for one in ROLES if call in one.api], more
    yield _flow(tape), list(NAMES), {}


def _merged(exports: list[dict[str, object]]) -> list[dict[str, object]]:
    """One export a subject, for all accounts that may import it."""
    found: dict[str, dict[str, object]] = {}
    for export in exports:
        name = json.dumps({key: value for key, value in export.items() if key != "accounts"})
        known = found.setdefault(name, {**export, "accounts": []})
        known["accounts"] = sorted({*known["accounts"], *export["accounts"]})  # type: ignore[misc]
    return list(found.values())


def _flow(tape: str) -> str:
    """Answers to a consumer's flow control."""
    return f"$JS.FC.{tape}.>"


def _role(one: Role, key: str, tapes: Sequence[str]) -> str:
    exports: list[dict[str, object]]
    exports = [{"stream": f"lockstep.*.{word}", "accounts": _hearers(word)} for word in one.says]
    if one.answers:
        exports.append(
            {"service": PRESENCE, "accounts": [other.name for other in ROLES if other.asks and other != one]}
        )
    user = {"nkey": key, "permissions": permissions(one)}
    lines = "".join(f"      {json.dumps(line)}\n" for line in _imports(one, tapes))
    return (
        f"  {one.name}: {{\n    users: [{json.dumps(user)}]\n    exports: {json.dumps(exports)}\n"
        f"    imports: [\n{lines}    ]\n  }}\n"
    )


def _hearers(word: str) -> list[str]:
    return [other.name for other in ROLES if any(_meet(word, heard) for heard in other.hears)]


def _meet(said: str, heard: str) -> bool:
    return said.split(".")[0] == heard.split(".")[0]


def _imports(one: Role, tapes: Sequence[str]) -> Iterator[dict[str, object]]:
    for tape in tapes:
        account = tape_account(tape)
        for subject in [*subjects_of(one, tape), _flow(tape)]:
            yield {"service": {"account": account, "subject": subject}}
        for call in (call.format(tape=tape) for call in one.api):
            if call != "INFO" or tape == tapes[0]:  # any account's answer says that JetStream is there
                yield {"service": {"account": account, "subject": f"{BARE_API}.{call}"}, "to": f"{ROLE_API}.{call}"}
        yield {"stream": {"account": account, "subject": f"{inbox(one.name)}.>"}}
    for other in ROLES:
        if one.asks and other.answers and other != one:
            yield {"service": {"account": other.name, "subject": PRESENCE}}
        for heard in one.hears:
            for said in other.says:
                if _meet(said, heard):
                    yield {"stream": {"account": other.name, "subject": f"lockstep.*.{_narrower(said, heard)}"}}


def _narrower(said: str, heard: str) -> str:
    return heard if said.endswith(">") else said


def permissions(one: Role) -> dict[str, Any]:
    """The same for any tape. What is not imported reaches nobody; with these, the server also says so."""
    publish = [
        *subjects_of(one, "*"),
        *(f"{ROLE_API}.{call.format(tape='*')}" for call in one.api),
        _flow("*"),
        *(f"lockstep.*.{word}" for word in one.says),
    ]
    subscribe = [f"{inbox(one.name)}.>", *(f"lockstep.*.{word}" for word in one.hears)]
    publish += [PRESENCE] if one.asks else []
    subscribe += [PRESENCE] if one.answers else []
    answers = {"allow_responses": True} if one.answers else {}
    return {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}, **answers}


def table() -> str:
    """The roles as a table in Markdown."""
    rows = [
        "| role | who | appends `<tape>.<word>.>` | JetStream's API | lock-step: says, hears |",
        "|---|---|---|---|---|",
    ]
    for one in ROLES:
        writes = "all" if one.writes == ENTITIES else ", ".join(one.writes) or "-"
        api = ", ".join(call.partition(".{tape}")[0] for call in one.api)
        step = "; ".join(", ".join(words) for words in (one.says, one.hears) if words) or "-"
        rows.append(f"| {one.name} | {one.who} | {writes} | {api} | {step} |")
    return "\n".join(rows) + "\n"
