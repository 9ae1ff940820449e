"""The kinds of faults there are, and how often each is drawn."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from scripts.chaos import faults
from scripts.chaos.disk import Disk
from scripts.chaos.faults import Kind
from scripts.chaos.full import full_database, full_tape
from scripts.chaos.proxy import is_ack, is_append, is_commit, is_delivery, is_told

FULL = (
    Kind("nats-server: disk full", full_tape, 0.6),
    Kind("PostgreSQL: disk full", full_database, 0.6),
)
"""These need a small disk to be mounted."""

KINDS = (
    *FULL,
    Kind("ack lost", faults.message("down", is_ack, copies=0), 2, light=True),
    Kind("ack lost, connection cut", faults.message("down", is_ack, cut=True), 6, light=True),
    Kind("ack doubled", faults.message("down", is_ack, copies=2), 4, light=True),
    Kind("append lost", faults.message("up", is_append, copies=0), 2, light=True),
    Kind("append lost, connection cut", faults.message("up", is_append, cut=True), 6, light=True),
    Kind("append doubled", faults.message("up", is_append, copies=2), 6, light=True),
    Kind("delivery lost", faults.message("down", is_delivery, copies=0), 6, light=True),
    Kind("delivery doubled", faults.message("down", is_delivery, copies=2), 6, light=True),
    Kind("delivery lost, connection cut", faults.message("down", is_delivery, cut=True), 4, light=True),
    Kind("report or permit lost", faults.message("up", is_told, copies=0), 3, light=True),
    Kind("report or permit doubled", faults.message("up", is_told, copies=2), 4, light=True),
    Kind("bus: connection cut", faults.cut_one(bus=True), 8, light=True),
    Kind("bus: all connections cut", faults.cut_all, 3),
    Kind("bus: connection stalled", faults.stall(True, 1.5, cut=False), 4, light=True),
    Kind("bus: connection stalled, then cut", faults.stall(True, 1.5, cut=True), 3, light=True),
    Kind("bus: connection half open", faults.half_open, 0.3, long=True),
    Kind("database: connection cut", faults.cut_one(bus=False), 4, light=True),
    Kind("database: commit's answer lost", faults.message("down", is_commit, cut=True, bus=False), 5, light=True),
    Kind("database: connection stalled", faults.stall(False, 1.5, cut=False), 3, light=True),
    Kind("database: connection stalled, then cut", faults.stall(False, 1.5, cut=True), 3, light=True),
    Kind("actors: SIGKILL", faults.kill("ray::Worker"), 8),
    Kind("actors: SIGSTOP", faults.stop("ray::Worker", 2.0), 5),
    Kind("projector: SIGKILL", faults.kill("ray::ProjectorW"), 4),
    Kind("projector: SIGSTOP", faults.stop("ray::ProjectorW", 2.0), 3),
    Kind("session: SIGKILL", faults.kill_session, 0.3),
    Kind("session: SIGSTOP", faults.stop_session, 3),
    Kind("everything: SIGKILL", faults.kill_all, 0.2),
    Kind("nats-server: SIGKILL", faults.kill_bus, 6),
    Kind("nats-server: SIGSTOP", faults.stop_bus, 3),
    Kind("PostgreSQL: SIGKILL", faults.kill_database, 5),
    Kind("PostgreSQL: SIGSTOP", faults.stop_database, 2),
    Kind("PostgreSQL: session SIGKILL", faults.backend(signal.SIGKILL), 3),
    Kind("PostgreSQL: session SIGTERM", faults.backend(signal.SIGTERM), 3),
    Kind("PostgreSQL: session SIGSTOP", faults.backend(signal.SIGSTOP), 2),
    Kind("gcs_server: SIGKILL", faults.kill("gcs_server"), 0.1),
    Kind("gcs_server: SIGSTOP", faults.stop("gcs_server", 3.0), 1),
    Kind("raylet: SIGKILL", faults.kill("raylet"), 0.1),
    Kind("raylet: SIGSTOP", faults.stop("raylet", 3.0), 1),
    Kind("Ray's agents: SIGKILL", faults.kill("ray::DashboardA"), 0.05, long=True),
    Kind("Ray's agents: SIGKILL", faults.kill("ray::RuntimeEnv"), 0.05, long=True),
    Kind("Ray's agents: SIGSTOP", faults.stop("ray::RuntimeEnv", 3.0), 0.5),
)


def possible(kinds: Sequence[Kind], folder: Path) -> tuple[Kind, ...]:
    """Those that can be here: without the right to mount, no disk is filled."""
    with Disk(folder / "tried") as disk:
        allowed = disk.mounted
    return tuple(kind for kind in kinds if allowed or kind not in FULL)
