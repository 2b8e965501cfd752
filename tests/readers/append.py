"""Appends one row to a table of a lake, as another engine would, by PyIceberg.

usage: append.py CATALOG_DB CATALOG_NAME TABLE JSON_ROW
"""

import json
import sys

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

db, name, identifier, row = sys.argv[1:5]
table = SqlCatalog(name, uri=f"sqlite:///{db}").load_table(identifier if "." in identifier else f"default.{identifier}")
table.append(pa.Table.from_pylist([json.loads(row)], schema=table.schema().as_arrow()))
