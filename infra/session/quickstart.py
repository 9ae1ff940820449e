"""Ray in half the time: what `ray.init` waits for is started later, and what is not used here not at all.

It waits for the dashboard's server, which takes as long as all the rest, also where no dashboard is wanted; starts an
autoscaler and a reader of logs for the driver; and asks once a second whether the node is there. Only private parts of
Ray can be told otherwise. Where they are not as they are known here, Ray starts as it always does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

log = logging.getLogger("tickertape.cluster")

NODE_S = (
    120.0  # a machine that is busy needs a minute where a quiet one needs three seconds; Ray itself gives up after 30
)
POLL_S = 0.02
WORKER = Path(__file__).with_name("rayworker.py")


class NotStarted(Exception):
    """Ray did not come up; on a machine that is very busy its parts lose patience with one another."""


@contextmanager
def quick() -> Iterator[None]:
    """While it lasts, `ray.init` starts no dashboard, autoscaler and log monitor, and its workers by `rayworker`."""
    nodes: list[Any] = []
    with ExitStack() as stack:
        try:
            from ray._private import ray_constants, services
            from ray._private.node import Node
            from ray._private.parameter import RayParams

            # What the environment says to Ray's processes, for this one, which has read it already.
            stack.enter_context(_swapped(ray_constants, "ENABLE_RAY_CLUSTER", lambda _: False))
            stack.enter_context(_swapped(RayParams, "__init__", _fewer))
            stack.enter_context(_swapped(Node, "start_api_server", _later))
            stack.enter_context(_swapped(Node, "start_ray_processes", partial(_noted, nodes)))
            stack.enter_context(_swapped(services, "get_node", partial(_soon, nodes)))
            stack.enter_context(sent_plainly())
        except (ImportError, AttributeError) as other:
            stack.close()
            log.warning("Ray is another one than is known here, so it takes longer to start: %s", other)
        try:
            yield
        except BaseException:
            for node in nodes:  # Ray leaves what it had started to the end of the program
                node.kill_all_processes(check_alive=False, allow_graceful=False)
            raise


@contextmanager
def sent_plainly() -> Iterator[None]:
    """While it lasts, Ray does not load pyarrow and pydantic to learn how their objects are sent."""
    from ray.util import serialization_addons

    with _swapped(serialization_addons, "apply", lambda _: lambda context: None):
        yield


def start_dashboard() -> None:
    """Starts the server that `quick` left out; takes some seconds. A failure is logged, and trading goes on."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is None or not node.head or node.webui_url:
        return
    try:
        node.start_api_server(include_dashboard=True, raise_on_failure=True)
    except Exception as trouble:
        log.warning("the Ray dashboard did not start: %s", trouble)


@contextmanager
def _swapped(owner: Any, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    """Puts `made(what was there)` in place of an attribute."""
    former = getattr(owner, name)
    setattr(owner, name, made(former))
    try:
        yield
    finally:
        setattr(owner, name, former)


def _fewer(init: Callable[..., None]) -> Callable[..., None]:
    def fewer(self: Any, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self.no_monitor, self.include_log_monitor, self.worker_path = True, False, str(WORKER)

    return fewer


def _later(_: Callable[..., None]) -> Callable[..., None]:
    def later(self: Any, **_named: Any) -> None:
        self._webui_url = ""  # what Ray itself puts there without a dashboard

    return later


def _noted(nodes: list[Any], start: Callable[[Any], None]) -> Callable[[Any], None]:
    def started(self: Any) -> None:
        nodes.append(self)
        start(self)

    return started


def _soon(begun: list[Any], get_node: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """Its own waiting is in steps of a second, and goes on where there is nothing left to wait for."""

    def soon(gcs_address: str, node_id: str) -> Any:
        from ray._private import services, state

        untyped: Any = services
        nodes: Any = state.GlobalState()  # type: ignore[no-untyped-call]
        nodes._initialize_global_state(untyped._get_gcs_client_options(gcs_address))
        deadline = time.monotonic() + NODE_S
        while time.monotonic() < deadline and not any(one["NodeID"] == node_id for one in nodes.node_table()):
            if dead := [kind for node in begun for kind, _ in node.dead_processes()]:
                why = "its agents have 15 s to come up, too little where the machine is very busy"
                raise NotStarted(f"Ray's {' and '.join(dead)} ended while it started ({why})")
            time.sleep(POLL_S)
        return get_node(gcs_address, node_id)

    return soon
