"""What the peers do in the benchmarks, each as its documentation shows it.

peers.py versions | p1a-duckdb IN OUT | p1a-polars IN OUT | p1b-duckdb IN OUT | p1b-polars IN OUT | p1b-dlt IN OUT
"""

import glob
import sys

TYPES = {
    "id": "BIGINT", "account": "INTEGER", "name": "VARCHAR", "amount": "DECIMAL(12,2)",
    "seen_at": "TIMESTAMP", "score": "DOUBLE", "active": "BOOLEAN", "day": "DATE",
}


def versions():
    import dlt
    import duckdb
    import polars

    print(f"DuckDB {duckdb.__version__}, Polars {polars.__version__}, dlt {dlt.__version__}, Python {sys.version.split()[0]}")


def p1a_duckdb(source, target):
    import duckdb

    duckdb.sql(
        f"copy (select * from read_csv('{source}/*.csv', header = true, columns = {TYPES})) to '{target}.parquet' (format parquet, compression snappy)"
    )


def p1a_polars(source, target):
    import polars as pl

    schema = {
        "id": pl.Int64, "account": pl.Int32, "name": pl.String, "amount": pl.Decimal(12, 2),
        "seen_at": pl.Datetime("us"), "score": pl.Float64, "active": pl.Boolean, "day": pl.Date,
    }
    pl.scan_csv(f"{source}/*.csv", schema=schema).sink_parquet(f"{target}.parquet", compression="snappy")


def p1b_duckdb(source, target):
    import duckdb

    duckdb.sql(f"copy (select * from read_csv('{source}/*.csv', header = true, union_by_name = true)) to '{target}.parquet' (format parquet)")


def p1b_polars(source, target):
    import polars as pl

    files = [pl.scan_csv(path, infer_schema_length=None) for path in sorted(glob.glob(f"{source}/*.csv"))]
    pl.concat(files, how="diagonal_relaxed").collect().write_parquet(f"{target}.parquet")


def p1b_dlt(source, target):
    import dlt
    from dlt.sources.filesystem import filesystem, read_csv_duckdb

    pipeline = dlt.pipeline("p1b", pipelines_dir=f"{target}-state", destination=dlt.destinations.filesystem(f"file://{target}"), dataset_name="out")
    rows = filesystem(f"file://{source}", file_glob="*.csv") | read_csv_duckdb(use_pyarrow=True, header=True)
    print(pipeline.run(rows.with_name("rows"), loader_file_format="parquet"))


def main():
    name, *places = sys.argv[1:]
    globals()[name.replace("-", "_")](*places)


main()
