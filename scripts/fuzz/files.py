"""Damaged files into importers and configuration: `python -m scripts.fuzz.files --count 10000`.

Each is read, and where it can be, filled into a store piece by piece; it gives what holds what it promises, or one
sentence of the right error, and nothing is left behind. What else is raised is kept beside the report.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from infra.config import Config, ConfigError, load
from infra.importers import Imported, ImportError_, read, read_parts
from infra.store import Series, StoreError, Writer
from scripts.fuzz.corpus import NUMBERS, VALUES
from scripts.fuzz.market import plan
from tests.infra.damage import NASTY, arrow_files, holds
from tests.infra.importing import NOW, SAMPLES
from tests.infra.test_config import TOML

SENTENCE_MAX = 10_000  # characters: a name that is quoted may be long
ENCODINGS = ("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "cp037")


class Damage:
    """Damages files, one to three times each. Everything follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self._market = [(one.name, one.content) for one in SAMPLES] + list(arrow_files())
        self._plan = msgspec.to_builtins(Config(**msgspec.structs.asdict(plan())))

    def market(self) -> tuple[str, bytes]:
        name, content = self.chance.choice(self._market)
        for _ in range(self.chance.randint(1, 3)):
            content = self.chance.choice((self._bytes, self._bytes, self._cells, self._cells, self._rows, self._words))(
                content
            )
        return self._packed(name, content) if self.chance.random() < 0.25 else (name, content)

    def config(self) -> tuple[str, bytes]:
        if self.chance.random() < 0.5:
            content = TOML.encode()
            for _ in range(self.chance.choice((1, 1, 2))):
                content = self.chance.choice((self._bytes, self._rows, self._words, self._value))(content)
            return "tape.toml", content
        made = json.loads(json.dumps(self._plan))
        for _ in range(self.chance.choice((1, 1, 2))):
            self._field(made)
        content = json.dumps(made).encode()
        return "tape.json", self._bytes(content) if self.chance.random() < 0.2 else content

    def _field(self, made: Any) -> None:
        """Some value at some depth is another one, gone, or goes by another name."""
        chance = self.chance
        while isinstance(made, dict | list) and made:
            place = chance.choice(sorted(made)) if isinstance(made, dict) else chance.randrange(len(made))
            if isinstance(made[place], dict | list) and made[place] and chance.random() < 0.8:
                made = made[place]
                continue
            if chance.random() < 0.7:
                made[place] = chance.choice((*VALUES, *NUMBERS))
            elif isinstance(made, dict) and chance.random() < 0.5:
                made[f"{place}x"] = made.pop(place)
            else:
                del made[place]
            return

    def _bytes(self, content: bytes) -> bytes:
        chance = self.chance
        at = chance.randrange(len(content) + 1)
        end = at + chance.choice((1, 1, 8, 40))
        flipped = bytes(byte ^ 1 << chance.randrange(8) for byte in content[at:end])
        return chance.choice((
            content[:at] + chance.choice(NASTY) + content[end:], content[:at] + chance.choice(NASTY) + content[at:],
            content[:at], content[:at] + flipped + content[end:],
            content + content[:at], content[at:], content[:at] + chance.randbytes(8) + content[at:],
        ))  # fmt: skip

    def _cells(self, content: bytes) -> bytes:
        """Of one row or of all: a cell is another one, gone, there twice, or has changed its place."""
        chance, lines = self.chance, content.split(b"\n")
        mark = chance.choice((b",", b",", b";", b"\t"))
        at, other, way, new = chance.randrange(12), chance.randrange(12), chance.randrange(4), chance.choice(NASTY)
        first = chance.randrange(len(lines))
        for number in range(len(lines)) if chance.random() < 0.4 else (first,):
            cells = lines[number].split(mark)
            a, b = at % len(cells), other % len(cells)
            if way == 0:
                cells[a] = new
            elif way == 1:
                del cells[a]
            elif way == 2:
                cells.insert(b, cells[a])
            else:
                cells[a], cells[b] = cells[b], cells[a]
            lines[number] = mark.join(cells)
        return b"\n".join(lines)

    def _rows(self, content: bytes) -> bytes:
        chance, lines = self.chance, content.split(b"\n")
        a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                lines.insert(b, lines[a])
            case 1:
                lines[a], lines[b] = lines[b], lines[a]
            case 2:
                del lines[a]
            case 3:
                lines.reverse()
            case _:
                lines[a:a] = lines * chance.choice((1, 50))
        return b"\n".join(lines)

    def _words(self, content: bytes) -> bytes:
        """Another encoding, other line ends."""
        chance = self.chance
        if chance.random() < 0.5:
            return content.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\0\n", "\u2028".encode())))
        return content.decode("utf-8", "replace").encode(chance.choice(ENCODINGS), "replace")

    def _value(self, content: bytes) -> bytes:
        lines = content.split(b"\n")
        at = self.chance.randrange(len(lines))
        name, equals, _ = lines[at].partition(b" = ")
        new = json.dumps(self.chance.choice((*VALUES, *NUMBERS)), ensure_ascii=False).encode("utf-8", "replace")
        lines[at] = name + equals + new
        return b"\n".join(lines)

    def _packed(self, name: str, content: bytes) -> tuple[str, bytes]:
        chance, out = self.chance, io.BytesIO()
        if chance.random() < 0.4:
            packed, name = gzip.compress(content), f"{name}.gz"
        else:
            inner = chance.choice((name, f"../../{name}", f"/tmp/{name}", "x\0.csv", "é.csv", f"{name}/", "a/b/c.txt"))
            with zipfile.ZipFile(out, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
                for number in range(chance.choice((1, 1, 1, 0, 2))):
                    archive.writestr(inner if not number else f"{number}{name}", content)
            packed, name = out.getvalue(), f"{name}.zip"
        if chance.random() < 0.2:
            packed, name = gzip.compress(packed), f"{name}.gz"
        return name, self._bytes(packed) if chance.random() < 0.5 else packed


def imports(path: Path) -> str:
    """Reads a market file, and fills a store with it piece by piece where its format allows that."""
    found: Imported | None = None
    with said(ImportError_, str(path)):
        holds(found := read(path, now=NOW))
    store = path.with_name("store")
    filled = found is not None and found.kind == "candles" and _fill(path, store)
    assert {*path.parent.iterdir()} == ({path, store} if filled else {path}), "something is left behind"
    if filled:
        store.unlink()
    return "refused" if found is None else f"{found.kind} read" + (", stored by pieces" if filled else "")


def _fill(path: Path, store: Path) -> bool:
    try:
        with Writer(store, Series("x", "y", "1m")) as writer:
            for columns in read_parts(path, now=NOW):
                writer.add(columns)
    except (ImportError_, StoreError):
        return False
    return store.exists()


def configures(path: Path) -> str:
    taken = False
    with said(ConfigError, f"{path}: "):
        load(path)
        taken = True
    return "taken" if taken else "refused"


@contextmanager
def said(kind: type[Exception], opening: str) -> Iterator[None]:
    """What is raised in it says which file it is about, in one sentence of bounded length."""
    try:
        yield
    except kind as error:
        sentence = str(error)
    else:
        return
    if not sentence.startswith(opening) or len(sentence) > len(opening) + SENTENCE_MAX:
        raise AssertionError(f"no sentence about the file: {sentence}")


class Found(msgspec.Struct):
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[str] = msgspec.field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""


def run(count: int, seed: int, kept: Path | None = None) -> Found:
    """Every fourth file is a configuration. What goes wrong is written to `kept`."""
    damage, found = Damage(seed), Found()
    for number in range(count):
        configuration = number % 4 == 3
        name, content = damage.config() if configuration else damage.market()
        take: Callable[[Path], str] = configures if configuration else imports
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            began = time.thread_time()
            try:
                found.outcomes[f"{'configuration' if configuration else 'market file'} {take(path)}"] += 1
            except Exception as error:  # whatever it is, it is what is looked for
                found.wrong.append(f"{number}, {name}: {type(error).__name__}: {error}")
                if kept is not None:
                    kept.mkdir(parents=True, exist_ok=True)
                    (kept / f"{number}-{name}").write_bytes(content)
            if (took := time.thread_time() - began) > found.slowest_s:
                found.slowest_s, found.slowest = took, f"{number}, {name}, {len(content)} bytes"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz.files", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--kept", type=Path, default=Path("fuzz-files"), help="where files go that something else befalls"
    )
    given = parser.parse_args()
    found = run(given.count, given.seed, given.kept)
    lines = [f"{count:>8,} {what}" for what, count in found.outcomes.most_common()]
    lines.append(f"slowest: {found.slowest_s * 1000:.0f} ms of the processor ({found.slowest})")
    sys.stdout.write("\n".join([*lines, *(f"PROBLEM: {one[:1_000]}" for one in found.wrong)]) + "\n")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
