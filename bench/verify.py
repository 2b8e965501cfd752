"""Reads a result with DuckDB and prints `rows sum-of-ids`: verify.py FOLDER-OR-FILE (all Parquet files below it, without hidden folders)."""

import glob
import os
import sys

import duckdb

place = sys.argv[1]
files = [place] if os.path.isfile(place) else [f for f in glob.glob(f"{place}/**/*.parquet", recursive=True) if "/_dlt_" not in f and "/metadata/" not in f]
if not files:
    sys.exit(f"no Parquet file in {place}")
rows, total = duckdb.execute("select count(*), sum(id)::bigint from read_parquet($files, union_by_name = true)", {"files": files}).fetchone()
print(rows, total)
