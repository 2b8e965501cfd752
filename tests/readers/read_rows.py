"""Reads all tables of a lake, and folders of Parquet files, the way other engines do; prints a JSON object: name -> columns with types, rows.

usage: read_rows.py CATALOG_DB CATALOG_NAME [FOLDER]...

PyIceberg reads the tables, and DuckDB the data files that they list: both must see the same. DuckDB reads the folders, columns united by name.
"""

import json
import pathlib
import sys

import duckdb
from pyiceberg.catalog.sql import SqlCatalog

from read_table import rows


def said(columns, found):
    return {"columns": columns, "rows": found}


def main():
    db, name, *folders = sys.argv[1:]
    catalog = SqlCatalog(name, uri=f"sqlite:///{db}")
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")

    def parquet(files):
        relation = connection.read_parquet(files, union_by_name=True)
        return said({c: str(t).lower() for c, t in zip(relation.columns, relation.types)}, rows(relation.to_arrow_table()))

    out = {}
    for namespace in catalog.list_namespaces():
        for identifier in catalog.list_tables(namespace):
            table = catalog.load_table(identifier)
            files = [task.file.file_path for task in table.scan().plan_files()]
            found = rows(table.scan().to_arrow())
            assert not files or parquet(files)["rows"] == found, f"{identifier}: DuckDB and PyIceberg differ"
            out[identifier[-1]] = said({f.name: str(f.field_type) for f in table.schema().fields}, found)
    for folder in folders:
        files = sorted(str(f) for f in pathlib.Path(folder).rglob("*.parquet"))
        out[folder] = parquet(files) if files else None
    print(json.dumps(out))


main()
