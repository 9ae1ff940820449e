"""How Ray starts: what is left out, what comes later, and that nobody misses it."""

from __future__ import annotations

import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from infra.services.settings import ServiceError
from infra.session import cluster
from infra.session.quickstart import start_dashboard
from infra.session.run import session
from tests.session.market import config

IGNORED = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
pytestmark = pytest.mark.filterwarnings(*IGNORED)  # of Ray

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's processes start elsewhere and know no tests


class Probe:
    def loaded(self, *names: str) -> list[str]:
        return [name for name in names if name in sys.modules]

    def imports(self, name: str) -> str:
        return str(__import__(name).__name__)

    def searched_first(self) -> str:
        return sys.path[0]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Ray, with a dashboard to come at this port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    assert cluster.start(dashboard=True, port=number) == f"http://127.0.0.1:{number}"
    yield number
    cluster.stop()


@pytest.fixture
def probe(port: int) -> Iterator[Any]:
    process = ray.remote(Probe).options(num_cpus=0).remote()
    yield process
    ray.kill(process)


def test_a_process_has_loaded_what_trades_and_not_what_ray_would_send(probe: Any) -> None:
    unused = ("pyarrow", "pydantic", "aiohttp")
    used = ("actors.shell", "infra.session.opening", "nats.aio.client")
    assert ray.get(probe.loaded.remote(*unused)) == []
    assert ray.get(probe.loaded.remote(*used)) == [*used]


def test_a_strategy_may_still_import_it(probe: Any) -> None:
    for name in ("pyarrow", "pydantic", "aiohttp"):
        assert ray.get(probe.imports.remote(name)) == name


def test_the_session_folder_hides_no_module_of_that_name(probe: Any) -> None:
    assert Path(ray.get(probe.searched_first.remote())).name != "session"


def test_the_dashboard_comes_when_it_is_asked_for_and_once(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)
    start_dashboard()
    start_dashboard()
    with urllib.request.urlopen(url, timeout=60) as answer:  # a busy machine answers late
        assert answer.status == 200


async def test_a_session_that_cannot_start_ends_what_it_began(tmp_path: Path, postgres_dsn: str) -> None:
    """Ray starts beside the services: where they fail it ends with them."""
    cluster.stop()  # that of the tests above
    chosen = config(tmp_path, "none", "nats://127.0.0.1:1", postgres_dsn, processes=3)
    with pytest.raises(ServiceError, match=r"nats://127\.0\.0\.1:1"):
        async with session(chosen, chosen.plan()):
            pass
    assert not ray.is_initialized()
