"""Creates a table (id bigint, text string) in a lake by PyIceberg, of which one column is NOT NULL.

usage: require.py CATALOG_DB CATALOG_NAME TABLE COLUMN
"""

import os
import sys

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

db, name, identifier, column = sys.argv[1:5]
catalog = SqlCatalog(name, uri=f"sqlite:///{db}", warehouse=os.path.dirname(db))
fields = [("id", LongType()), ("text", StringType())]
schema = Schema(*(NestedField(i + 1, n, t, required=n == column) for i, (n, t) in enumerate(fields)))
catalog.create_table(f"default.{identifier}", schema, location=f"{os.path.dirname(db)}/default/{identifier}", properties={"format-version": "2"})
