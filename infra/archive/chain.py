"""The hash chain over everything that stands on a tape: one link a message, each over the one before."""

from __future__ import annotations

import struct
from hashlib import blake2b

from infra.tapes.stored import Stored

_HEAD = struct.Struct("<QQqI")
START = blake2b(b"tickertape archive/1", digest_size=32).digest()
"""The head before the first message of any tape."""


def linked(head: bytes, message: Stored) -> bytes:
    """The head after `message`: BLAKE2b, 256 bits, over the head before, sequence, epoch, append time in µs, the
    length of the path (little-endian: 8, 8, 8 and 4 bytes), path and body.
    """
    path = message.path.encode()
    fixed = _HEAD.pack(message.seq, message.epoch, message.known_at, len(path))
    return blake2b(b"".join((head, fixed, path, message.body)), digest_size=32).digest()
