"""Compiled recurrences round as Python does."""

from __future__ import annotations

import numpy as np
import pytest

from actors.indicators import EMA, kernels


@pytest.mark.parametrize("readonly", [False, True])
def test_compiled_and_interpreted_agree_to_the_bit(readonly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).normal(100, 7, 20_000) * 10.0 ** np.random.default_rng(2).integers(-5, 5, 20_000)
    x.flags.writeable = not readonly
    slow, fast = np.empty_like(x), np.empty_like(x)
    monkeypatch.setattr(kernels._Kernels, "ema", None)
    monkeypatch.setattr(kernels._Kernels, "passed", 0)
    kernels.ema(x, 0.1, 3.0, slow)
    assert kernels._Kernels.ema is None
    kernels.warm()
    kernels.ema(x, 0.1, 3.0, fast)
    assert kernels._Kernels.ema is not None
    assert (slow.view(np.int64) == fast.view(np.int64)).all()


def test_much_work_loads_the_compiled_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels._Kernels, "ema", None)
    monkeypatch.setattr(kernels._Kernels, "passed", kernels.ENOUGH)
    one = EMA(3)
    found = one.run(np.arange(10.0))
    assert kernels._Kernels.ema is not None
    other = EMA(3)
    assert found.tolist()[2:] == [other.update(value) for value in np.arange(10.0).tolist()][2:]
