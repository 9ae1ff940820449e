"""What files are damaged with, and what must hold of whatever is read all the same."""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet

from infra.importers import Columns, Imported, QuoteColumns, TradeColumns
from tests.infra.importing import NOW

NASTY = (
    b"nan", b"NaN", b"inf", b"-inf", b"-1", b"0", b"-0.0", b"", b" ", b"1e400", b"1e-400", b"1_0", b"0x10", b"\xff\xfe",
    b"\x00", b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\n\n", b"[", b"]", b"{", b"null", b"true", b"[[[[",
    b"9" * 30, b"7258118400000", b"60000", b"1970-01-01 00:00:00", b"2200-01-01 00:00:00", b"9999-12-31", b"+1", b".5",
    "١".encode(), "５".encode(), b"1,5", b"9223372036854775807", b"-9223372036854775808", b"1704067200.5", b"x" * 300,
)  # fmt: skip


def holds(imported: Imported) -> None:
    report, data = imported.report, imported.data
    assert report.accepted + report.duplicates + report.rejected == report.rows
    assert len(imported.rejects) == report.rejected
    assert len(data.ts) == report.accepted
    assert all(reject.reason and reject.text and len(reject.raw) <= 4096 for reject in imported.rejects)
    assert (np.diff(data.ts) >= 0).all()
    assert data.ts.dtype == np.int64
    assert ((data.ts >= 946_684_800_000_000) & (data.ts <= NOW + 86_400_000_000)).all()
    if isinstance(data, Columns):
        assert (np.diff(data.ts) > 0).all()
        floats = [data.open, data.high, data.low, data.close, data.volume]
        assert (np.stack(floats[:4]) > 0).all()
        assert (data.volume >= 0).all()
        assert (
            (data.low <= np.minimum(data.open, data.close)) & (data.high >= np.maximum(data.open, data.close))
        ).all()
        assert data.count is None or len(data.count) == len(data.ts)
    elif isinstance(data, TradeColumns):
        floats = [data.price, data.qty]
        assert (np.stack(floats) > 0).all()
        assert set(data.side.tolist()) <= {-1, 0, 1}
        assert len(data.id) == len(data.side) == len(data.ts)
    else:
        assert isinstance(data, QuoteColumns)
        floats = [data.bid, data.ask, data.bid_size, data.ask_size]
        assert (data.bid <= data.ask).all()
        assert (data.bid > 0).all()
    assert all(np.isfinite(column).all() and len(column) == len(data.ts) for column in floats)


@functools.cache
def arrow_files() -> tuple[tuple[str, bytes], ...]:
    stamps = pa.array([1_704_067_200_000_000 + i * 60_000_000 for i in range(50)], pa.timestamp("us", tz="UTC"))
    names = ("open", "high", "low", "close", "volume")
    table = pa.table({"date": stamps, **{name: [1.0 + i / 64 for i in range(50)] for name in names}})
    out, files = pa.BufferOutputStream(), []
    feather.write_feather(table, out, compression="lz4")
    files.append(("x-1m.feather", out.getvalue().to_pybytes()))
    out = pa.BufferOutputStream()
    parquet.write_table(table, out)
    return (*files, ("x-1m.parquet", out.getvalue().to_pybytes()))
