"""Checks that every row of a table is in the file of the partition that PyIceberg's own transforms say. Prints how many rows it saw.

usage: check_partitions.py CATALOG_DB CATALOG_NAME TABLE
"""

import datetime
import sys

import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def internal(value):
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1) if value.tzinfo else datetime_to_micros(value)
    if isinstance(value, datetime.date):
        return date_to_days(value)
    return value


db, name, identifier = sys.argv[1:4]
table = SqlCatalog(name, uri=f"sqlite:///{db}").load_table(identifier if "." in identifier else f"default.{identifier}")
schema, seen = table.schema(), 0
for task in table.scan().plan_files():
    for row in pq.read_table(task.file.file_path).to_pylist():
        seen += 1
        for i, field in enumerate(table.spec().fields):
            source = schema.find_field(field.source_id)
            value = internal(row.get(source.name))
            wanted = None if value is None else internal(field.transform.transform(source.field_type)(value))
            found = internal(task.file.partition[i])
            assert found == wanted, f"{field.name}: {row[source.name]!r} is in partition {found!r}, and belongs to {wanted!r}"
print(f"{seen} rows")
