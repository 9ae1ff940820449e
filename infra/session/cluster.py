"""Ray: places the processes, restarts them, and carries no event."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.decider import Decider, Poison
from actors.plan import Plan
from actors.roster import deciders
from actors.shell import Connect, Worker, sleep_before_retry
from events.tape import LostRace, TapeDamaged

log = logging.getLogger("tickertape.cluster")

SAME_POISON_MAX = 3  # a poison fact is the same after a restart; three times rules out a process gone wrong


class Halted(Exception):
    """An actor cannot go on and was stopped; the message says which, where and why."""


def start(dashboard: bool, port: int = 8265) -> str:
    """Starts Ray on this machine, or joins the one that RAY_ADDRESS names. Returns the dashboard's address or ''."""
    # The trading processes share the driver's environment; telemetry to outside is not ours to send.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    shared = os.environ.get("RAY_ADDRESS")
    # No event passes through Ray's object store, and our actors ask for no CPU: the numbers only keep Ray from
    # taking a third of the memory and from warning of more processes than cores.
    own: dict[str, Any] = {} if shared else {"object_store_memory": 100_000_000, "num_cpus": 64}
    context = ray.init(
        address=shared or "local",
        namespace="tickertape",
        include_dashboard=dashboard,
        dashboard_host="127.0.0.1",
        dashboard_port=port,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        configure_logging=False,
        **own,
    )
    return f"http://{context.dashboard_url}" if dashboard and context.dashboard_url else ""


def stop() -> None:
    ray.shutdown()


def spawn(plan: Plan, names: Sequence[str], label: str, connect: Connect) -> Any:
    """One process with the named actors; `run` is not called yet."""
    made = msgspec.json.encode(plan)
    return (
        ray.remote(Worker)
        .options(name=label, num_cpus=0, max_restarts=-1, max_task_retries=0)
        .remote(partial(some_deciders, made, tuple(names)), connect)
    )


def some_deciders(plan: bytes, names: tuple[str, ...]) -> tuple[Decider[Any], ...]:
    """The named actors of an encoded plan, in rank order: what a process is told to run."""
    every = deciders(msgspec.json.decode(plan, type=Plan))
    return tuple(decider for decider in every if decider.actor in names)


async def supervise(run: Callable[[], Awaitable[object]], label: str) -> None:
    """Keeps a process's loop running. Raises Halted where trying again cannot help.

    A lost connection, a dead process and the like are tried again without end, with a growing pause; a poison fact
    a few times; a lost race never, for it means that another session writes as the same actor.
    """
    failures, poisons, last = 0, 0, ""
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await run()
            reason: BaseException = RuntimeError("its loop ended")
        except RayTaskError as error:
            reason = error.cause or error
        except RayActorError as error:
            reason = error
        if asyncio.get_running_loop().time() - started > 60:
            failures = 0
        failures += 1
        log.warning("%s stopped: %s; attempt %d follows", label, reason, failures + 1)
        if isinstance(reason, LostRace | TapeDamaged):
            raise Halted(f"{label}: {reason}") from reason
        if isinstance(reason, Poison):
            poisons = poisons + 1 if str(reason) == last else 1
            last = str(reason)
            if poisons >= SAME_POISON_MAX:
                raise Halted(f"{label}: {reason}") from reason
        await sleep_before_retry(failures)
