"""Reads a table of a lake the way other engines do, and prints what it sees as one JSON object.

usage: read_table.py CATALOG_DB CATALOG_NAME TABLE [ROW_FILTER]

PyIceberg reads through the SQL catalog and Iceberg's metadata; DuckDB reads the Parquet files that those list (its Iceberg extension has to
be downloaded, which a test must not; files in S3 it leaves out for the same reason). With a row filter, `files` tells how many files are left to
read after pruning. More properties of the catalog, as JSON, may stand in the environment variable CATALOG_PROPERTIES.
"""

import json
import os
import sys

import duckdb
from pyiceberg.catalog.sql import SqlCatalog


def plain(value):
    if isinstance(value, float) and value != value:
        return "nan"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value)


def rows(table):
    found = [{k: plain(v) for k, v in row.items()} for row in table.to_pylist()]
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def main():
    db, name, identifier = sys.argv[1:4]
    row_filter = sys.argv[4] if len(sys.argv) > 4 else None
    properties = json.loads(os.environ.get("CATALOG_PROPERTIES", "{}"))
    catalog = SqlCatalog(name, uri=f"sqlite:///{db}", **properties)
    table = catalog.load_table(identifier if "." in identifier else f"default.{identifier}")
    scan = table.scan(row_filter=row_filter) if row_filter else table.scan()
    files = [task.file.file_path for task in scan.plan_files()]
    out = {
        "format": table.metadata.format_version,
        "columns": {field.name: str(field.field_type) for field in table.schema().fields},
        "ids": {field.name: field.field_id for field in table.schema().fields},
        "partitions": [f"{field.name}: {field.transform}" for field in table.spec().fields],
        "snapshots": len(table.metadata.snapshots),
        "files": len(files),
        "rows": rows(scan.to_arrow()),
        "properties": table.properties,
        "partition_values": sorted(json.dumps(plain(list(task.file.partition))) for task in scan.plan_files()),
        "bounds": {str(k): v.hex() for task in scan.plan_files() for k, v in (task.file.lower_bounds or {}).items()},
    }
    if files and not row_filter and not files[0].startswith("s3:"):
        connection = duckdb.connect()
        connection.execute("set TimeZone = 'UTC'")
        out["duckdb"] = rows(connection.read_parquet(files, union_by_name=True).to_arrow_table())
    print(json.dumps(out))


if __name__ == "__main__":
    main()
