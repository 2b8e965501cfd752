"""The little of Impala's SQL that loaders speak, over tables in memory that a file keeps.

Deliberately not here: joins, expressions, views, and files. Errors carry Impala's words where Impala has some.
"""

import json
import os
import re
import threading

from words import FIRST, WHOLE, Refused, Words, analysis, fit


class Plan:
    """A statement that may run: its columns ([name, type, comment]), and what does it, which gives (rows, modified)."""

    def __init__(self, run, columns=(), loads=False, can_stop=True):
        self.run, self.columns, self.loads, self.can_stop = run, list(columns), loads, can_stop


def summary(text, work):
    def run():
        said = work()
        return [[said or text]], None

    return Plan(run, [["summary", "STRING", ""]])


class Catalog:
    def __init__(self, path, load):
        """`load`: takes as long as the metadata of a table takes to be loaded."""
        self.path, self.load, self.lock = path, load, threading.RLock()
        self.databases = {"default": {}}
        self.unloaded = set()
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.databases = json.load(file)

    def keep(self):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.databases, file)
        os.replace(self.path + ".new", self.path)

    def database(self, name):
        if name not in self.databases:
            raise analysis(f"Database does not exist: {name}")
        return self.databases[name]

    def table(self, database, name, text=None):
        """`text`: what is said where there is none."""
        if name not in self.databases.get(database, {}):
            raise analysis(text or f"Table does not exist: {database}.{name}")
        with self.lock:
            waits = f"{database}.{name}" in self.unloaded
            self.unloaded.discard(f"{database}.{name}")
        if waits:
            self.load()
        return self.databases[database][name]

    def plan(self, text, session):
        return Statement(self, text, session).plan()


class Statement(Words):
    def __init__(self, catalog, text, session):
        super().__init__(text)
        self.catalog, self.session = catalog, session

    def target(self):
        """(database, table, as typed)"""
        first = self.name()
        if self.take("."):
            second = self.name()
            return first, second, f"{first}.{second}"
        return self.session.database, first, first

    def partition(self, table, database, name):
        """{key: value} of all keys of the table."""
        pairs = {}
        texts = []

        def pair():
            key = self.name()
            self.need("=")
            value, _, text = self.literal()
            if key in pairs:
                raise analysis(f"Duplicate partition key name: {key}")
            pairs[key] = value
            texts.append(f"{key}={text}")

        self.list_of(pair)
        keys = [c[0] for c in table["keys"]]
        if not keys:
            raise analysis(f"Table is not partitioned: {database}.{name}")
        for key in pairs:
            if key not in keys:
                raise analysis(f"Partition column '{key}' not found in table: {database}.{name}")
        if len(pairs) < len(keys):
            raise analysis(f"Items in partition spec must exactly match the partition columns in the table definition: {database}.{name} ({len(pairs)} vs {len(keys)})")
        return [pairs[key] for key in keys], ", ".join(texts)

    def plan(self):
        if not self.tokens:
            raise Refused("AnalysisException: Empty query string\n")
        word = self.tokens[0][1].upper()
        if self.tokens[0][0] != "name" or word not in FIRST:
            raise self.syntax(*FIRST)
        self.at = 1
        plan = getattr(self, "plan_" + word.lower(), None)
        if plan is None:
            raise self.unknown()
        return plan()

    def unknown(self):
        return Refused(f"the stand-in for Impala does not know this statement: {self.text}\n", "HYC00")

    def plan_create(self):
        if self.take("DATABASE") or self.take("SCHEMA"):
            quiet, name = self.take("IF", "NOT", "EXISTS"), self.name()
            self.tail()
            if name in self.catalog.databases and not quiet:
                raise analysis(f"Database already exists: {name}")

            def work():
                if name in self.catalog.databases:
                    return "Database already exists."
                self.catalog.databases[name] = {}
                return None

            return summary("Database has been created.", work)
        self.take("EXTERNAL")
        self.need("TABLE")
        quiet = self.take("IF", "NOT", "EXISTS")
        database, name, _ = self.target()
        if not self.look("("):
            raise self.unknown()

        def column():
            if self.take("PRIMARY", "KEY"):
                self.list_of(self.name)
                return None
            return self.column()

        columns = [c for c in self.list_of(column) if c]
        keys = self.list_of(self.column) if self.take("PARTITIONED", "BY") else []
        form = self.tail()
        tables = self.catalog.database(database)
        names = [c[0] for c in columns + keys]
        for twice in (n for at, n in enumerate(names) if n in names[:at]):
            raise analysis(f"Duplicate column name: {twice}")
        if name in tables and not quiet:
            raise analysis(f"Table already exists: {database}.{name}")

        def work():
            if name in tables:
                return "Table already exists."
            tables[name] = {"columns": columns, "keys": keys, "form": form, "partitions": [], "rows": []}
            return None

        return summary("Table has been created.", work)

    def plan_drop(self):
        if self.take("DATABASE") or self.take("SCHEMA"):
            quiet, name = self.take("IF", "EXISTS"), self.name()
            cascade = self.take("CASCADE")
            self.take("RESTRICT")
            self.end()
            if not quiet:
                self.catalog.database(name)
            if self.catalog.databases.get(name) and not cascade:
                raise analysis(f"Cannot drop non-empty database: {name}")
            if name == "default":
                raise analysis("Cannot drop default database.")
            return summary("Database has been dropped.", lambda: None if self.catalog.databases.pop(name, None) is not None else "Database does not exist.")
        self.need("TABLE")
        quiet = self.take("IF", "EXISTS")
        database, name, _ = self.target()
        self.take("PURGE")
        self.end()
        if not quiet:
            self.catalog.table(database, name)
        return summary("Table has been dropped.", lambda: None if self.catalog.databases.get(database, {}).pop(name, None) else "Table does not exist.")

    def plan_alter(self):
        self.need("TABLE")
        database, name, typed = self.target()
        table = self.catalog.table(database, name, f"Could not resolve table reference: '{typed}'")
        if self.take("RECOVER", "PARTITIONS"):
            self.end()
            return summary("Partitions have been recovered.", lambda: None)
        if self.take("DROP"):
            quiet = self.take("IF", "EXISTS")
            self.need("PARTITION")
            values, text = self.partition(table, database, name)
            self.end()
            there = values in table["partitions"]
            if not there and not quiet:
                raise analysis(f"Partition spec does not exist: ({text}).")

            def drop():
                width = len(table["columns"])
                table["partitions"] = [p for p in table["partitions"] if p != values]
                table["rows"] = [r for r in table["rows"] if r[width:] != values]

            return summary(f"Dropped {int(there)} partition(s).", drop)
        self.need("ADD")
        quiet = self.take("IF", "NOT", "EXISTS")
        if self.take("PARTITION"):
            values, text = self.partition(table, database, name)
            if self.take("LOCATION"):
                self.string()
            self.end()
            if values in table["partitions"] and not quiet:
                raise analysis(f"Partition spec already exists: ({text}).")
            return summary("New partition has been added to the table.", lambda: table["partitions"].append(values) if values not in table["partitions"] else None)
        if not (self.take("COLUMNS") or self.take("COLUMN")):
            raise self.syntax("COLUMN", "COLUMNS", "PARTITION")
        more = self.list_of(self.column) if self.look("(") else [self.column()]
        self.end()
        have = {c[0] for c in table["columns"] + table["keys"]}
        for column in more:
            if column[0] in have and not quiet:
                raise analysis(f"Column already exists: {column[0]}")
        more = [c for c in more if c[0] not in have]

        def widen():
            width = len(table["columns"])
            table["columns"] += more
            table["rows"] = [r[:width] + [None] * len(more) + r[width:] for r in table["rows"]]

        return summary("New column(s) have been added to the table.", widen)

    def plan_refresh(self):
        database, name, _ = self.target()
        table = self.catalog.table(database, name)
        while self.take("PARTITION"):
            self.partition(table, database, name)
        self.end()
        return Plan(lambda: ([], None), loads=True, can_stop=False)

    def plan_invalidate(self):
        self.need("METADATA")
        one = self.target()[:2] if self.at < len(self.tokens) else None
        self.end()

        def run():
            databases = self.catalog.databases
            if one and one[1] not in databases.get(one[0], {}):
                raise Refused(f"CatalogException: TableNotFoundException: Table not found: {one[0]}.{one[1]}\n")
            self.catalog.unloaded.update([".".join(one)] if one else [f"{d}.{t}" for d, tables in databases.items() for t in tables])
            return [], None

        return Plan(run, can_stop=False)

    def plan_compute(self):
        self.take("INCREMENTAL")
        self.need("STATS")
        table = self.catalog.table(*self.target()[:2])
        return summary(f"Updated 1 partition(s) and {len(table['columns'])} column(s).", lambda: None)

    def plan_use(self):
        name = self.name()
        self.end()
        self.catalog.database(name)
        self.session.database = name
        return Plan(lambda: ([], None))

    def plan_set(self):
        if self.at == len(self.tokens):
            rows = [[k, v, "REGULAR"] for k, v in sorted(self.session.options.items())]
            return Plan(lambda: (rows, None), [["option", "STRING", ""], ["value", "STRING", ""], ["level", "STRING", ""]])
        key = self.name()
        self.need("=")
        at = self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)
        self.session.options[key.upper()] = self.text[at:].strip().rstrip(";").strip("'\"")
        return Plan(lambda: ([], None))

    def plan_show(self):
        if self.take("PARTITIONS"):
            table = self.catalog.table(*self.target()[:2])
            self.end()
            more = [["#Rows", "BIGINT"], ["#Files", "BIGINT"], ["Size", "STRING"], ["Bytes Cached", "STRING"], ["Cache Replication", "STRING"]]
            more += [["Format", "STRING"], ["Incremental stats", "STRING"], ["Location", "STRING"]]
            rest = [-1, 0, "0B", "NOT CACHED", "NOT CACHED", table["form"], "false", ""]
            rows = [[str(v) for v in p] + rest for p in table["partitions"]]
            rows.append(["Total"] + [""] * (len(table["keys"]) - 1) + [-1, 0, "0B", "0B", "", "", "", ""])
            return Plan(lambda: (rows, None), [[k[0], "STRING", ""] for k in table["keys"]] + [[*c, ""] for c in more])
        if self.take("DATABASES") or self.take("SCHEMAS"):
            rows, columns = [[n, ""] for n in sorted(self.catalog.databases)], [["name", "STRING", ""], ["comment", "STRING", ""]]
        elif self.take("TABLES"):
            database = self.name() if self.take("IN") else self.session.database
            rows, columns = [[n] for n in sorted(self.catalog.database(database))], [["name", "STRING", ""]]
        else:
            raise self.unknown()
        if self.take("LIKE") or self.at < len(self.tokens):
            pattern = "|".join(re.escape(p).replace(r"\*", ".*") for p in self.string().lower().split("|"))
            rows = [r for r in rows if re.fullmatch(pattern, r[0])]
        self.end()
        return Plan(lambda: (rows, None), columns)

    def plan_describe(self):
        database, name, typed = self.target()
        self.end()
        table = self.catalog.table(database, name, f"Could not resolve path: '{typed}'")
        rows = [[c[0], c[1].lower(), c[2]] for c in table["columns"] + table["keys"]]
        return Plan(lambda: (rows, None), [[n, "STRING", ""] for n in ("name", "type", "comment")])

    def plan_insert(self):
        over = self.take("OVERWRITE")
        if not over:
            self.need("INTO")
        self.take("TABLE")
        database, name, _ = self.target()
        table = self.catalog.table(database, name)
        columns = table["columns"] + table["keys"]
        named = self.list_of(self.name) if self.look("(") else [c[0] for c in table["columns"]]
        fixed = {}
        if self.take("PARTITION"):

            def part():
                key = self.name()
                if self.take("="):
                    fixed[key] = self.literal()
                else:
                    named.append(key)

            self.list_of(part)
        if not self.take("VALUES"):
            raise self.unknown() if self.look("SELECT", "WITH") else self.syntax("VALUES")
        rows = [self.list_of(self.literal)]
        while self.take(","):
            rows.append(self.list_of(self.literal))
        self.end()
        kinds = {c[0]: c[1] for c in columns}
        for unknown in (n for n in [*named, *fixed] if n not in kinds):
            raise analysis(f"Unknown column '{unknown}' in column permutation")
        for missing in (k[0] for k in table["keys"] if k[0] not in [*named, *fixed]):
            raise analysis(f"Not enough partition columns mentioned in query. Missing columns are: {missing}")
        made = []
        for row in rows:
            if len(row) != len(named):
                few = "fewer" if len(row) < len(named) else "more"
                raise analysis(f"Target table '{database}.{name}' has {few} columns ({len(named)}) than the SELECT / VALUES clause returns ({len(row)})")
            values = dict(zip(named, row)) | fixed
            made.append([fit(values[c], kinds[c], f"{database}.{name}", c) if c in values else None for c in kinds])

        def run():
            width = len(table["columns"])
            parts = [list(p) for p in dict.fromkeys(tuple(r[width:]) for r in made)]
            if over:
                table["rows"] = [r for r in table["rows"] if r[width:] not in parts]
            table["rows"] += made
            table["partitions"] += [p for p in parts if p and p not in table["partitions"]]
            counts = {}
            for row in made:
                where = "/".join(f"{k[0]}={v}" for k, v in zip(table["keys"], row[width:])) + ("/" if table["keys"] else "")
                counts[where] = counts.get(where, 0) + 1
            return [], counts

        return Plan(run)

    def plan_select(self):
        items = [self.item()]
        while self.take(","):
            items.append(self.item())
        if not self.take("FROM"):
            self.end()
            for shown in (i[2] for i in items if i[0] not in ("literal", "function")):
                raise analysis(f"Could not resolve column/field reference: '{shown}'")
            row = [i[1][0] for i in items]
            return Plan(lambda: ([row], None), [[i[2], i[1][1], ""] for i in items])
        database, name, typed = self.target()
        table = self.catalog.table(database, name, f"Could not resolve table reference: '{typed}'")
        columns = table["columns"] + table["keys"]

        def place(column):
            for at, have in enumerate(columns):
                if have[0] == column:
                    return at
            raise analysis(f"Could not resolve column/field reference: '{column}'")

        tests = []
        if self.take("WHERE"):
            tests.append(self.test(place))
            while self.take("AND"):
                tests.append(self.test(place))
        order = None
        if self.take("ORDER", "BY"):
            order = (place(self.name()), self.take("DESC"))
            self.take("ASC")
        limit = self.whole() if self.take("LIMIT") else None
        self.end()
        rows = [r for r in table["rows"] if all(test(r) for test in tests)]
        if order:
            rows.sort(key=lambda r: (r[order[0]] is None, r[order[0]]), reverse=order[1])
        if any(i[0] in ("count", "sum", "min", "max") for i in items):
            out, rows = self.aggregate(items, columns, rows, place)
        else:
            out, picks = [], []
            for kind, value, shown in items:
                if kind == "star":
                    out += columns
                    picks += [lambda r, at=at: r[at] for at in range(len(columns))]
                elif kind == "column":
                    out.append([shown, columns[place(value)][1], ""])
                    picks.append(lambda r, at=place(value): r[at])
                else:
                    out.append([shown, value[1], ""])
                    picks.append(lambda r, v=value[0]: v)
            rows = [[pick(r) for pick in picks] for r in rows]
        return Plan(lambda: (rows[:limit], None), out)

    def item(self):
        """(kind, value, name of the column)"""
        begin = self.at
        if self.take("*"):
            return "star", None, "*"
        functions = {"version": "impalad version 0.0.0, a stand-in of sluis dev", "current_database": self.session.database, "effective_user": self.session.user}
        if self.look("(", ahead=1) and not self.look("CAST"):
            word = self.name()
            self.need("(")
            if word in ("count", "sum", "min", "max"):
                value = "*" if word == "count" and self.take("*") else self.name()
                kind, shown = word, f"{word}({value})"
            elif word in functions:
                kind, value, shown = "function", (functions[word], "STRING", ""), f"{word}()"
            else:
                raise analysis(f"{self.session.database}.{word}() unknown")
            self.need(")")
        elif self.tokens[begin][0] in ("name", "quoted") if begin < len(self.tokens) else False:
            if self.look("NULL", "TRUE", "FALSE", "CAST", "DATE", "TIMESTAMP"):
                value = self.literal()
                kind, shown = "literal", value[2].lower()
            else:
                kind, value = "column", self.name()
                shown = value
        else:
            value = self.literal()
            kind, shown = "literal", value[2]
        if self.take("AS"):
            shown = self.name()
        return kind, value, shown

    def test(self, place):
        at = place(self.name())
        if self.take("IS"):
            unlike = self.take("NOT")
            self.need("NULL")
            return lambda r: (r[at] is None) != unlike
        marks = {"=": lambda a, b: a == b, "<>": lambda a, b: a != b, "!=": lambda a, b: a != b}
        marks |= {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}
        if not self.look(*marks):
            raise self.syntax(*marks, "IS")
        compare = marks[self.tokens[self.at][1]]
        self.at += 1
        value, _, text = self.literal()

        def holds(row):
            if row[at] is None or value is None:
                return False
            if isinstance(row[at], str) != isinstance(value, str):
                raise analysis(f"operands are not comparable: {row[at]!r} and {text}")
            return compare(row[at], value)

        return holds

    def aggregate(self, items, columns, rows, place):
        out, row = [], []
        for kind, value, shown in items:
            if kind not in ("count", "sum", "min", "max"):
                raise analysis(f"select list expression not produced by aggregation output (missing from GROUP BY clause?): {shown}")
            values = rows if value == "*" else [r[place(value)] for r in rows if r[place(value)] is not None]
            of = "BIGINT" if value == "*" else columns[place(value)][1]
            if kind == "count":
                out.append([shown, "BIGINT", ""])
                row.append(len(values))
                continue
            if kind == "sum":
                if of not in WHOLE and of not in ("FLOAT", "DOUBLE"):
                    raise self.unknown() if of.startswith("DECIMAL") else analysis(f"SUM requires a numeric parameter: {shown}")
                of = "BIGINT" if of in WHOLE else "DOUBLE"
            out.append([shown, of, ""])
            row.append({"sum": sum, "min": min, "max": max}[kind](values) if values else None)
        return out, [row]
