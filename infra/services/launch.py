"""Becomes a server: ties its life to the parent's, drops root where asked, then replaces itself by `execv`.

Run as a script with the standard library alone, so that the parent needs no code between fork and exec.
Arguments: parent pid, signal at the parent's death (0: none), uid, gid (-1: keep), reach (1: see `_drop_root`), argv.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def _prctl(*arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(*(ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:5])) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _drop_root(uid: int, gid: int, reach: bool) -> None:
    """`reach` keeps CAP_DAC_OVERRIDE: the server's files may lie below folders that only root can enter."""
    if reach:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if reach:
        bits = 1 << _CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
        if ctypes.CDLL(None, use_errno=True).capset(header, sets) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def main() -> None:
    parent, death_signal, uid, gid, reach = (int(value) for value in sys.argv[1:6])
    argv = sys.argv[6:]
    if uid >= 0:
        _drop_root(uid, gid, reach == 1)
    # After the change of user, which would clear it.
    if death_signal and sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main()
