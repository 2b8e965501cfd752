"""Impala's words: tokens, names, literals, types and columns of a statement, and how Impala refuses what is none.

Deliberately not here: statements (`sql.py`).
"""

import re

TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/)|(?P<number>\d+(\.\d+)?([eE][+-]?\d+)?)|(?P<string>'(\\.|[^'\\])*'|"(\\.|[^"\\])*")"""
    r"""|(?P<quoted>`[^`]+`)|(?P<name>[A-Za-z_]\w*)|(?P<mark><=|>=|<>|!=|[-(),.*=<>;+])""",
    re.S,
)
FIRST = "ALTER COMMENT COMPUTE COPY CREATE DELETE DESCRIBE DROP EXPLAIN GRANT INSERT INVALIDATE LOAD MERGE REFRESH REVOKE SELECT SET SHOW TRUNCATE UPDATE UPSERT USE VALUES WITH".split()
WHOLE = {"TINYINT": 7, "SMALLINT": 15, "INT": 31, "BIGINT": 63}
PLAIN = {*WHOLE, "BOOLEAN", "FLOAT", "DOUBLE", "STRING", "TIMESTAMP", "BINARY", "DATE"}
TAIL = {"COMMENT", "ROW", "STORED", "LOCATION", "TBLPROPERTIES", "SORT", "WITH", "CACHED", "UNCACHED"}
FORMS = {"TEXTFILE": "TEXT", "PARQUET": "PARQUET", "ORC": "ORC", "AVRO": "AVRO"}


class Refused(Exception):
    """What Impala would say, and its SQLSTATE."""

    def __init__(self, text, state="HY000"):
        super().__init__(text)
        self.text, self.state = text, state


def analysis(text):
    return Refused(f"AnalysisException: {text}\n")


class Words:
    def __init__(self, text):
        self.text, self.at = text, 0
        self.tokens, here = [], 0
        while here < len(text):
            found = TOKEN.match(text, here)
            if found is None:
                self.tokens.append(("mark", text[here], here))
                here += 1
                continue
            if found.lastgroup is not None and found.group("skip") is None:
                kind = next(k for k in ("number", "string", "quoted", "name", "mark") if found.group(k) is not None)
                self.tokens.append((kind, found.group(0), here))
            here = found.end()
        while self.tokens and self.tokens[-1][1] == ";":
            self.tokens.pop()

    def look(self, *words, ahead=0):
        at = self.at + ahead
        return at < len(self.tokens) and self.tokens[at][0] in ("name", "mark") and self.tokens[at][1].upper() in words

    def take(self, *words):
        """All these words in a row, or none."""
        if all(self.look(word, ahead=n) for n, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def need(self, *words):
        for word in words:
            if not self.take(word):
                raise self.syntax(word)

    def syntax(self, *expected):
        """The line up to the fault, a caret below it, what is there and what was expected."""
        kind, found, at = self.tokens[self.at] if self.at < len(self.tokens) else ("end", "EOF", len(self.text))
        line = self.text.count("\n", 0, at) + 1
        begin = self.text.rfind("\n", 0, at) + 1
        shown = self.text[begin:].split("\n")[0]
        what = {"number": "DECIMAL LITERAL" if "." in found else "INTEGER LITERAL", "string": "STRING LITERAL", "end": "EOF"}.get(kind)
        what = what or (found.upper() if found.upper() in FIRST or kind == "mark" else "IDENTIFIER")
        lines = [f"ParseException: Syntax error in line {line}:", shown, " " * (at - begin) + "^", f"Encountered: {what}", f"Expected: {', '.join(expected)}"]
        return Refused("\n".join(lines) + "\n\nCAUSED BY: Exception: Syntax error\n")

    def end(self):
        if self.at < len(self.tokens):
            raise self.syntax("EOF")

    def name(self):
        kind, text, _ = self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", 0)
        if kind not in ("name", "quoted"):
            raise self.syntax("IDENTIFIER")
        self.at += 1
        return text.strip("`").lower()

    def list_of(self, item):
        self.need("(")
        items = [item()]
        while self.take(","):
            items.append(item())
        self.need(")")
        return items

    def string(self):
        kind, text, _ = self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", 0)
        if kind != "string":
            raise self.syntax("STRING LITERAL")
        self.at += 1
        escapes = {"n": "\n", "t": "\t", "0": "\0", "r": "\r"}
        return re.sub(r"\\(.)", lambda m: escapes.get(m[1], m[1]), text[1:-1], flags=re.S)

    def literal(self):
        """(value, type, as Impala would write it)"""
        if self.take("NULL"):
            return None, "NULL_TYPE", "NULL"
        if self.look("TRUE", "FALSE"):
            self.at += 1
            value = self.tokens[self.at - 1][1].upper() == "TRUE"
            return value, "BOOLEAN", str(value).upper()
        if self.take("CAST"):
            self.need("(")
            value, _, text = self.literal()
            self.need("AS")
            kind = self.type()
            self.need(")")
            return cast(value, kind), kind, f"CAST({text} AS {kind})"
        if self.look("DATE", "TIMESTAMP") and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1][0] == "string":
            kind = self.tokens[self.at][1].upper()
            self.at += 1
            value = self.string()
            return value, kind, f"{kind} '{value}'"
        sign = "-" if self.take("-") else ""
        kind, text, _ = self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", 0)
        if kind == "number":
            self.at += 1
            text = sign + text
            if "e" in text.lower():
                return float(text), "DOUBLE", text
            if "." in text:
                whole, part = text.lstrip("-").split(".")
                return text, f"DECIMAL({len(whole.lstrip('0')) + len(part) or 1},{len(part)})", text
            fits = [k for k, bits in WHOLE.items() if -(1 << bits) <= int(text) < 1 << bits]
            return (int(text), fits[0], text) if fits else (text, f"DECIMAL({len(text.lstrip('-'))},0)", text)
        value = self.string()
        return value, "STRING", f"'{value}'"

    def type(self):
        word = self.name().upper()
        word = {"INTEGER": "INT", "REAL": "DOUBLE"}.get(word, word)
        if word == "DECIMAL":
            sizes = [9, 0]
            if self.look("("):
                sizes = (self.list_of(self.whole) + [0])[:2]
            return f"DECIMAL({sizes[0]},{sizes[1]})"
        if word in ("VARCHAR", "CHAR"):
            return f"{word}({self.list_of(self.whole)[0]})"
        if word not in PLAIN:
            self.at -= 1
            raise self.syntax(*sorted(PLAIN | {"CHAR", "DECIMAL", "VARCHAR"}))
        return word

    def whole(self):
        value, kind, _ = self.literal()
        if kind not in WHOLE:
            self.at -= 1
            raise self.syntax("INTEGER LITERAL")
        return value

    def column(self):
        """[name, type, comment]"""
        column = [self.name(), self.type(), ""]
        while True:
            if self.take("COMMENT"):
                column[2] = self.string()
            elif not (self.take("NOT", "NULL") or self.take("NULL") or self.take("PRIMARY", "KEY")):
                return column

    def tail(self):
        """What stands after the columns; all but the format is read over."""
        form = "TEXT"
        if self.at < len(self.tokens) and not self.look(*TAIL):
            raise self.syntax(*sorted(TAIL))
        while self.at < len(self.tokens):
            if self.take("STORED", "AS"):
                form = FORMS.get(self.name().upper(), "TEXT")
            else:
                self.at += 1
        return form


def cast(value, kind):
    """A literal as another type; what does not fit is null, as Impala has it."""
    try:
        if value is None or kind in ("NULL_TYPE",):
            return None
        if kind in WHOLE:
            return int(float(value)) if not isinstance(value, int) else int(value)
        if kind in ("FLOAT", "DOUBLE"):
            return float(value)
        if kind == "BOOLEAN":
            return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower(), None if isinstance(value, str) else bool(value))
    except ValueError:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    sized = re.fullmatch(r"(VARCHAR|CHAR)\((\d+)\)", kind)
    if sized:
        return text[: int(sized[2])] if sized[1] == "VARCHAR" else text[: int(sized[2])].ljust(int(sized[2]))
    return text


def fit(literal, kind, table, column):
    """A literal as a value of a column; never with a loss."""
    value, of, text = literal
    if value is None or of == kind:
        return value
    if of in WHOLE and kind in WHOLE and WHOLE[of] < WHOLE[kind]:
        return value
    if kind in ("FLOAT", "DOUBLE") and (of in WHOLE or of.startswith("DECIMAL")):
        return float(value)
    if kind.startswith("DECIMAL") and (of in WHOLE or of.startswith("DECIMAL")):
        precision, scale = (int(n) for n in kind[8:-1].split(","))
        whole, _, part = str(value).lstrip("-").partition(".")
        if len(whole.lstrip("0")) <= precision - scale and len(part) <= scale:
            return str(value) + ("" if len(part) == scale else ("" if part else ".") + "0" * (scale - len(part)))
    if of == "STRING" and kind in ("DATE", "TIMESTAMP", "BINARY"):
        return value
    text_like = ("STRING", "VARCHAR", "CHAR")
    number_like = (*WHOLE, "FLOAT", "DOUBLE", "DECIMAL")
    if (of.startswith(text_like) and kind.startswith(text_like)) or (of.startswith(number_like) and kind.startswith(number_like)):
        raise analysis(f"Possible loss of precision for target table '{table}'.\nExpression '{text}' (type: {of}) would need to be cast to {kind} for column '{column}'")
    raise analysis(f"Target table '{table}' is incompatible with source expressions.\nExpression '{text}' (type: {of}) is not compatible with column '{column}' (type: {kind})")
