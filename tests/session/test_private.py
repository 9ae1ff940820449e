"""What a session shows to others: where it listens, and that no secret is anywhere but in the files made for them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from infra.services import secrets
from infra.services.settings import ServiceSettings
from tests.infra.cli_tape import Ended
from tests.session.command import Tape
from tests.session.market import SPEED, config, feeds

LOOPBACK = re.compile(r"0100007F|0{16}FFFF00000100007F|0{24}01000000")
"""127.0.0.1, the same as an IPv6 address, and ::1, as the kernel writes them."""
ALLOWED = {
    "nats-server": 2,  # clients, monitoring
    "postgres": 1,
    "raylet": 2,
    "gcs_server": 1,
    "ray::DashboardAgent": 3,
    "ray::RuntimeEnvAgent": 1,
}
"""How many sockets a process may listen at; any other process of Ray, and the session itself as its driver, at one."""

COMMANDS = (
    "status", "status --json", "address nats", "address postgres", "address cli", "address monitor --json", "pause aaa",
    "rebuild", "stop --trading no-new-risk", "tail -n 5 fill", "address nothing", "run --help",
)  # fmt: skip


def listening() -> dict[str, str]:
    """Addresses by inode of all TCP sockets that listen."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                found[words[9]] = words[1].partition(":")[0]
    return found


def processes(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def sockets(pid: int) -> list[str]:
    """Where a process listens."""
    everywhere, found = listening(), []
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            inode = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        except OSError:
            continue
        if inode is not None and inode[1] in everywhere:
            found.append(everywhere[inode[1]])
    return found


def said_of(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_text(errors="replace")
    except OSError:
        return ""


def hidden(data_dir: Path) -> list[str]:
    """Every secret of a data folder."""
    found = [path.read_text().strip().rpartition(":")[2] for path in secrets.folder(data_dir).iterdir()]
    return [*found, (data_dir / "postgres" / "password").read_text().strip()]


def none_in(text: str, words: list[str], where: str) -> None:
    assert [word[:4] for word in words if word in text] == [], where


class Looked:
    """What was seen while the session ran."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.sockets: dict[str, list[str]] = {}
        self.lines: list[str] = []
        self.logs: set[Path] = set()

    def look(self, root: int) -> None:
        for pid in processes(root):
            line = said_of(pid, "cmdline").replace("\0", " ")
            name = Path(line.split()[0]).name if line.strip() else "?"
            self.sockets[f"{name} {pid}"] = sockets(pid)
            self.lines += [line, said_of(pid, "environ")]
            if found := re.search(r"--log_dir=(\S+)", line):
                self.logs.add(Path(found[1]))


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Looked, list[Ended]]:
    folder = tmp_path_factory.mktemp("private")
    chosen = msgspec.structs.replace(config(folder, "main", "", "", processes=3), services=ServiceSettings())
    tape = Tape(folder, chosen)
    found, said = Looked(tape), []
    with tape.beside("run", *feeds(folder), "--speed", SPEED, "--plain") as running:
        running.until(lambda: tape.served, "services")
        running.until(
            lambda: '"fills":' in (one := tape("status", "--json")).out and one.json()["totals"]["fills"], "fills"
        )
        found.look(running.child.pid)
        said += [tape(*command.split()) for command in COMMANDS]
        said.append(running.end())
    return found, said


def traded(tape: Tape) -> bool:
    done = tape("status", "--json")
    return done.code == 0 and bool(done.json()["totals"]["fills"])


def test_everything_listens_on_loopback_and_nothing_else_listens(looked: tuple[Looked, list[Ended]]) -> None:
    seen = looked[0].sockets
    assert {name.split()[0] for name in seen} >= {"nats-server", "postgres", "raylet", "gcs_server"}
    for name, places in seen.items():
        assert all(LOOPBACK.fullmatch(place) for place in places), (name, places)
        assert len(places) <= ALLOWED.get(name.split()[0], 1), (name, places)


def test_no_secret_is_shown(looked: tuple[Looked, list[Ended]]) -> None:
    found, said = looked
    words = hidden(found.tape.data_dir)
    assert len(words) == 10 + 2 + 1
    assert all(len(word) > 20 for word in words)
    none_in("\n".join(found.lines), words, "command lines and environments")
    for number, one in enumerate(said):
        none_in(one.out + one.err, words, f"command {number}")
    closed = (secrets.folder(found.tape.data_dir), found.tape.data_dir / "postgres" / "password")
    assert found.logs
    for top in (found.tape.folder, *found.logs):
        for path in top.rglob("*"):
            if path.is_file() and not any(one == path or one in path.parents for one in closed):
                none_in(path.read_bytes().decode(errors="replace"), words, str(path))


SECRET = "hunter2-and-more"
BAD = (
    {"postgres_dsn": f"postgresql://me:{SECRET}@127.0.0.1:9/x"},
    {"postgres_dsn": f"host=127.0.0.1 port=9 password={SECRET}"},
    {"postgres_dsn": f"postgresql://me:{SECRET}%zz@127.0.0.1/x"},
    {"postgres_dsn": f"host=127.0.0.1 {SECRET}"},
    {"nats_url": f"nats://me:{SECRET}@127.0.0.1:9", "postgres_dsn": f"host=127.0.0.1 port=9 password={SECRET}"},
)


@pytest.mark.parametrize("services", BAD)
def test_an_address_with_a_password_is_not_repeated(tmp_path: Path, services: dict[str, str]) -> None:
    (tmp_path / "tape.json").write_bytes(msgspec.json.encode({"data_dir": str(tmp_path / "data")}))
    chosen = config(tmp_path, "main", "", "", processes=3)
    tape = Tape(tmp_path, chosen)
    (tmp_path / "tape.json").write_bytes(
        msgspec.json.encode(msgspec.to_builtins(chosen) | {"services": services, "data_dir": str(tmp_path / "data")})
    )
    for command in ("status", "rebuild --debug"):
        done = tape(*command.split())
        assert done.code != 0
        none_in(done.out + done.err, [SECRET], command)
