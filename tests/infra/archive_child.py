"""One step of an archive's life in a process of its own, which may be killed: `STEP URL TAPE FOLDER`."""

from __future__ import annotations

import asyncio
import sys

from infra.archive.export import export
from infra.archive.place import Place
from infra.archive.restore import restore
from infra.tapes.jetstream import JetStreamTape


def quiet(_: int) -> None:
    pass


async def main(step: str, url: str, name: str, folder: str) -> None:
    place = Place(folder, name)
    place.parts()  # loads Arrow
    print("ready", flush=True)  # noqa: T201 - the parent waits for it
    if step == "restore":
        await restore(url, place, 1, quiet)
        return
    tape = await JetStreamTape.connect(url, name, create=False)
    await export(tape, place, quiet, rows=20)
    await tape.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
