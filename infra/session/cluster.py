"""Ray: places the processes, restarts them, and carries no event."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from actors.decider import Decider, Poison
from actors.plan import Plan
from actors.roster import BadPlan, deciders
from actors.shell import Connect, Keep, Worker, sleep_before_retry
from actors.strategies import UnknownStrategy
from events import subjects
from events.tape import LostRace, TapeDamaged
from infra.session.quickstart import NotStarted, quick
from projections.outcome import RebuildNeeded

log = logging.getLogger("tickertape.cluster")

HOPELESS = (LostRace, TapeDamaged, RebuildNeeded, BadPlan, UnknownStrategy)
"""What the same process would meet again: each of their sentences says what a person has to do."""

STARTS_MAX = 5  # its raylet gives its agent 15 s to come up, which is known to be too little on a busy machine

WATCHED: dict[str, Any] = {"concurrency_groups": {"watch": 1}}
"""A thread for whoever asks how a process is: it answers while a strategy keeps the loop busy."""

LOST_POLL_S = 0.2  # a look takes microseconds
STOP_S = 20.0  # it ends within two; on a busy machine within ten
ASK_S = 2.0  # a question to gcs_server, a third of a millisecond

SAME_POISON_MAX = 3  # a poison fact is the same after a restart; three times rules out a process gone wrong


class Halted(Exception):
    """An actor cannot go on and was stopped; the message says which, where and why."""


class RayLost(Exception):
    """A process of Ray's own has ended, and nothing placed by it can be relied on; the message says which."""


def start(dashboard: bool, port: int = 8265) -> str:
    """Starts Ray on this machine, or joins the one that RAY_ADDRESS names. Returns the dashboard's address or ''.

    On this machine it is where the dashboard will be: `quickstart.start_dashboard` starts it, when there is time.
    """
    # The trading processes share the driver's environment; telemetry to outside is not ours to send.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray runs its workers at niceness 15, behind everything else on the machine: here they are what it is for.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Every process is asked once a second how far it is. Ray would remember 100,000 of these questions for its
    # dashboard: gcs_server would grow by more than a megabyte a minute, for hours.
    os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", "1000")
    # And of a million that it has let go it would keep the names.
    os.environ.setdefault("RAY_task_events_max_dropped_task_attempts_tracked_per_job_in_gcs", "1000")
    # Nobody reads what Ray measures of itself. Collecting it, an idle raylet grows by megabytes an hour without an end.
    os.environ.setdefault("RAY_enable_metrics_collection", "0")
    shared = os.environ.get("RAY_ADDRESS")
    if not shared:
        # Ray listens on loopback alone where it believes that it cannot be a cluster; this tells its processes so.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    # No event passes through Ray's object store, and our actors ask for no CPU: the numbers only keep Ray from
    # taking a third of the memory and from warning of more processes than cores.
    own: dict[str, Any] = {"object_store_memory": 100_000_000, "num_cpus": 64, "_node_ip_address": "127.0.0.1"}
    begin = partial(
        ray.init,
        address=shared or "local",
        namespace="tickertape",
        include_dashboard=dashboard,
        dashboard_host="127.0.0.1",
        dashboard_port=port,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
        **({} if shared else own),
    )
    with _no_chatter():
        context = begin() if shared else _begun(begin)
    url = context.dashboard_url if shared else f"127.0.0.1:{port}"
    return f"http://{url}" if dashboard and url else ""


def _begun(begin: Callable[[], Any]) -> Any:
    for _ in range(STARTS_MAX - 1):
        try:
            with quick():
                return begin()
        except NotStarted as trouble:
            log.warning("%s; once more", trouble)
            ray.shutdown()
    with quick():
        return begin()


def dashboard_access() -> str:
    """What the dashboard asks for, in words to show beside its address; '' where it lets everybody in.

    Ray makes a token when it starts its first cluster for a user, and keeps it in that user's home.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return ""
    return "asks once for a token, which `ray get-auth-token` prints"


@contextmanager
def _no_chatter() -> Iterator[None]:
    """While Ray starts it warns of what is meant to be: that tokens are on, that SIGTERM is ours, not its own."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def stop() -> None:
    """Also where its raylet hangs, which Ray would wait for without end."""
    hung = threading.Timer(STOP_S, _end_raylet)
    hung.start()
    try:
        ray.shutdown()
    finally:
        hung.cancel()


def _end_raylet() -> None:
    """With SIGKILL, as a stopped process needs; the processes that it has started end with it."""
    from ray._private import worker

    node: Any = worker._global_node
    for one in node.all_processes.get("raylet", ()) if node is not None else ():
        one.process.kill()


def lost() -> list[str]:
    """Which of Ray's own processes, of those that this one has started, have ended; they should not before it does.

    Without its raylet Ray calls every actor dead for good; without its gcs_server it restarts none, and after a
    minute ends the program. An agent that ends takes the raylet with it.
    """
    from ray._private import worker

    node: Any = worker._global_node
    return [kind for kind, _ in node.dead_processes()] if node is not None else []


def called_dead() -> bool:
    """Whether Ray takes this machine's own node for dead, whose raylet stands still: it starts no process again then,
    and those that it has started go on all the same."""
    from ray._private import worker

    untyped: Any = worker
    node = untyped._global_node
    if node is None or not node.all_processes:
        return False
    try:
        (alive,) = untyped.global_worker.gcs_client.check_alive([ray.NodeID.from_hex(node.node_id)], timeout=ASK_S)
    except (RayError, AttributeError):  # it does not answer, which says nothing of the node
        return False
    return not alive


async def until_lost() -> None:
    """Raises RayLost when it comes to that."""
    loop = asyncio.get_running_loop()
    asked = loop.time()
    while not (ended := lost()):
        if loop.time() - asked > ASK_S:
            if await asyncio.to_thread(called_dead):
                _end_raylet()
                raise RayLost("Ray takes its only node for dead")
            asked = loop.time()
        await asyncio.sleep(LOST_POLL_S)
    raise RayLost(f"Ray has lost its {' and '.join(ended)}")


def spawn(plan: Plan, names: Sequence[str], label: str, connect: Connect, keep: Keep | None = None) -> Any:
    """One process with the named actors; `run` is not called yet."""
    return (
        ray.remote(**WATCHED)(Worker)
        .options(name=label, num_cpus=0, max_restarts=-1, max_task_retries=0)
        .remote(partial(some_deciders, packed(part(plan, names)), tuple(names)), connect, keep)
    )


def part(plan: Plan, names: Sequence[str]) -> Plan:
    """What of a plan the named actors are made from."""
    wanted = set(names)
    bots = tuple(one for one in plan.bots if {subjects.bot(one.name), subjects.account(one.account)} & wanted)
    theirs = {subjects.account(one.account) for one in bots}
    traded = {subjects.market(one.venue, one.symbol) for one in bots}
    return Plan(
        symbols=tuple(one for one in plan.symbols if subjects.market(one.venue, one.symbol) in traded | wanted),
        bots=bots,
        accounts=tuple(one for one in plan.accounts if subjects.account(one.name) in theirs | wanted),
    )


def packed(plan: Plan) -> bytes:
    """A hundredth of its JSON where bots are alike: Ray starts no process again whose arguments exceed 100 KB."""
    return zlib.compress(msgspec.json.encode(plan))


def some_deciders(plan: bytes, names: tuple[str, ...]) -> tuple[Decider[Any], ...]:
    """The named actors of a packed plan, in rank order: what a process is told to run."""
    every = deciders(msgspec.json.decode(zlib.decompress(plan), type=Plan))
    wanted = set(names)
    return tuple(decider for decider in every if decider.actor in wanted)


async def supervise(run: Callable[[], Awaitable[object]], label: str) -> None:
    """Keeps a process's loop running. Raises Halted where trying again cannot help.

    A lost connection, a dead process and the like are tried again without end, with a growing pause; a poison fact
    a few times; what is HOPELESS never: a lost race, say, means that another session writes as the same actor.
    """
    failures, poisons, last = 0, 0, ""
    while True:
        started = asyncio.get_running_loop().time()
        try:
            await run()
            reason: BaseException = RuntimeError("its loop ended")
        except RayTaskError as error:
            reason = error.cause or error
        except RayError as error:  # its process died or cannot be reached, in any of Ray's words
            reason = error
            if isinstance(error, RayActorError) and error.actor_init_failed:  # Ray never starts such a one again
                raise Halted(f"{label} cannot be started: {str(error).strip().splitlines()[-1]}") from error
        if asyncio.get_running_loop().time() - started > 60:
            failures = 0
        failures += 1
        if isinstance(reason, HOPELESS):
            raise Halted(f"{label}: {reason}") from reason
        if isinstance(reason, Poison):
            poisons = poisons + 1 if str(reason) == last else 1
            last = str(reason)
            if poisons >= SAME_POISON_MAX:
                raise Halted(f"{label}: {reason}") from reason
        log.warning("%s stopped: %s; attempt %d follows", label, reason, failures + 1)
        await sleep_before_retry(failures)
