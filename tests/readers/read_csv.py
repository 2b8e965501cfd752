"""Reads CSV files as text with DuckDB and Polars, and writes what they see.

usage: read_csv.py MANIFEST.json

The manifest is a list of {path, delimiter, quote, escape, header, names}; the answer is a list of {duckdb: [[text or null]], polars: …},
null where the program cannot be told such a dialect or refuses the file, in the order of the manifest, as JSON on standard output.
"""

import json
import sys

import duckdb
import polars


def by_duckdb(file, connection):
    # Named columns and no detection: the dialect is given.
    columns = {name: "VARCHAR" for name in file["names"]}
    options = dict(
        delim=file["delimiter"],
        quote=file["quote"],
        escape=file["escape"] or file["quote"],
        header=file["header"],
        columns=columns,
        auto_detect=False,
        allow_quoted_nulls=False,
    )
    text = ", ".join(f"{key} = ?" if key != "columns" else f"columns = {columns!r}" for key in options)
    values = [value for key, value in options.items() if key != "columns"]
    try:
        rows = connection.execute(f"SELECT * FROM read_csv(?, {text})", [file["path"], *values]).fetchall()
    except duckdb.Error as refusal:
        print(file["path"], refusal, file=sys.stderr)
        return None
    return [list(row) for row in rows]


def by_polars(file):
    if len(file["delimiter"]) > 1 or file["escape"]:
        return None
    frame = polars.read_csv(
        file["path"],
        separator=file["delimiter"],
        quote_char=file["quote"] or None,
        has_header=file["header"],
        new_columns=file["names"],
        infer_schema=False,
    )
    return [list(row) for row in frame.rows()]


def main():
    with open(sys.argv[1], encoding="utf-8") as manifest:
        files = json.load(manifest)
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    json.dump([{"duckdb": by_duckdb(f, connection), "polars": by_polars(f)} for f in files], sys.stdout)


main()
