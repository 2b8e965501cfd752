"""Reads files as other programs do and compares every value with what was written.

usage: read_formats.py FOLDER

FOLDER has `expected.jsonl` (a row per line, exact) and the same rows in files of every format. Fails with what differs.
"""

import datetime
import json
import os
import struct
import sys
from decimal import Decimal

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

folder = sys.argv[1]


def load(text):
    return json.loads(text, parse_float=Decimal)


expected = [load(line) for line in open(f"{folder}/expected.jsonl", encoding="utf-8")]
TYPES = {
    "flag": "boolean", "i8": "tinyint", "i16": "smallint", "i32": "integer", "i64": "bigint", "single": "float", "double": "double",
    "money": "decimal(38,4)", "price": "decimal(9,2)", "text": "varchar", "day": "date", "at": "timestamp", "moment": "timestamptz",
    "items": "varchar", "place": "varchar", "scores": "varchar", "bytes": "varchar",
}
ARROW = {
    "flag": pa.bool_(), "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(), "single": pa.float32(), "double": pa.float64(),
    "money": pa.decimal128(38, 4), "price": pa.decimal128(9, 2), "text": pa.string(), "day": pa.date32(), "at": pa.timestamp("us"),
    "moment": pa.timestamp("us", tz="UTC"), "items": pa.string(), "place": pa.string(), "scores": pa.string(),
}


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def same(value, want, name=""):
    if value is None or want is None:
        return value is None and want is None
    if isinstance(value, bool):
        return value is want
    if isinstance(value, float):
        pack = "f" if name == "single" else "d"
        return struct.pack(pack, value) == struct.pack(pack, float(want))
    if isinstance(value, (int, Decimal)):
        return value == Decimal(str(want))
    if isinstance(value, bytes):
        return value.hex() == want
    if isinstance(value, datetime.datetime):
        want = moment(want)
        return (value.tzinfo is None) == (want.tzinfo is None) and value == want
    if isinstance(value, datetime.date):
        return value.isoformat() == want
    if isinstance(value, str):
        # A nested value as text.
        return value == want if isinstance(want, str) else same(load(value), want)
    if isinstance(value, list) and isinstance(want, dict):
        value = dict(value)
    if isinstance(value, list):
        return len(value) == len(want) and all(same(v, w) for v, w in zip(value, want))
    return value.keys() == want.keys() and all(same(v, want[k]) for k, v in value.items())


def compare(reader, path, rows, without=()):
    rows = list(rows)
    assert len(rows) == len(expected), f"{reader} finds {len(rows)} of {len(expected)} rows in {path}"
    for number, (row, want) in enumerate(zip(rows, expected)):
        for name in want:
            if name not in without:
                assert same(row[name], want[name], name), f"{reader}, {path}, row {number}, {name}: {row[name]!r} is not {want[name]!r}"
    print(f"{reader} {os.path.basename(path)}")


def duck(query):
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return connection.sql(query).to_arrow_table().to_pylist()


def columns(names):
    return "{" + ", ".join(f"'{n}': '{TYPES[n]}'" for n in names) + "}"


for name in sorted(os.listdir(folder)):
    path = f"{folder}/{name}"
    if name.endswith(".parquet"):
        compare("pyarrow", path, pa.parquet.read_table(path).to_pylist())
        compare("duckdb", path, duck(f"from read_parquet('{path}')"))
    elif name.endswith(".csv"):
        options = pa.csv.ConvertOptions(column_types=ARROW, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False)
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        compare("pyarrow", path, pa.csv.read_csv(path, parse_options=parse, convert_options=options).to_pylist(), {"bytes"})
        given = columns(n for n in TYPES if n != "bytes")
        query = f"from read_csv('{path}', header=true, allow_quoted_nulls=false, quote='\"', escape='\"', delim=',', columns={given})"
        compare("duckdb", path, duck(query), {"bytes"})
    elif name.endswith((".jsonl", ".json")):
        text = open(path, encoding="utf-8").read()
        rows = [load(line) for line in text.splitlines()] if name.endswith(".jsonl") else load(text)
        compare("python", path, rows)
        layout = "newline_delimited" if name.endswith(".jsonl") else "array"
        # DuckDB reads numbers in JSON as doubles on the way to a decimal.
        wanted = [n for n in TYPES if n not in ("money", "items", "place", "scores")]
        query = f"from read_json('{path}', format='{layout}', columns={columns(wanted)})"
        compare("duckdb", path, duck(query), {"money", "items", "place", "scores"})
    elif name.endswith(".avro"):
        with open(path, "rb") as file:
            compare("fastavro", path, fastavro.reader(file))
