"""Thrift's strict binary protocol. A struct is a dict from field number to value on the way in, a list of (number, type, value) on the way out.

Every length is bounded: bytes that are not a message end the connection, and nothing else.
"""

import struct

BOOL, BYTE, DOUBLE, I16, I32, I64, STRING, STRUCT, MAP, LIST = 2, 3, 4, 6, 8, 10, 11, 12, 13, 15
SET = 14
VERSION = 0x80010000
CALL, REPLY, EXCEPTION = 1, 2, 3
LONGEST = 64 << 20
DEEPEST = 16
FIXED = {BOOL: ">?", BYTE: ">b", DOUBLE: ">d", I16: ">h", I32: ">i", I64: ">q"}


class Malformed(Exception):
    """These bytes are no message."""


class Reader:
    """Reads from a function that gives exactly as many bytes as it is asked for."""

    def __init__(self, take):
        self.take = take

    def fixed(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def length(self):
        n = self.fixed(">i")
        if not 0 <= n <= LONGEST:
            raise Malformed(f"a length of {n}")
        return n

    def value(self, kind, depth=0):
        if depth > DEEPEST:
            raise Malformed("structs too deep")
        if kind in FIXED:
            return self.fixed(FIXED[kind])
        if kind == STRING:
            return self.take(self.length())
        if kind == STRUCT:
            fields = {}
            while (of := self.fixed(">B")) != 0:
                number = self.fixed(">h")
                fields[number] = self.value(of, depth + 1)
            return fields
        if kind in (LIST, SET):
            of = self.fixed(">B")
            return [self.value(of, depth + 1) for _ in range(self.length())]
        if kind == MAP:
            key, of = self.fixed(">B"), self.fixed(">B")
            return dict((self.value(key, depth + 1), self.value(of, depth + 1)) for _ in range(self.length()))
        raise Malformed(f"a type {kind}")

    def message(self):
        """(name, sequence number, arguments)"""
        word = self.fixed(">I")
        if word != VERSION | CALL:
            raise Malformed(f"it begins with {word:#x}, and not with a call in the strict binary protocol")
        name = self.take(self.length()).decode("utf-8", "replace")
        return name, self.fixed(">i"), self.value(STRUCT)


def encode(kind, value):
    """A list or set is (type, values), a map (type, type, dict)."""
    if kind in FIXED:
        return struct.pack(FIXED[kind], value)
    if kind == STRING:
        data = value.encode() if isinstance(value, str) else value
        return struct.pack(">i", len(data)) + data
    if kind == STRUCT:
        return b"".join(struct.pack(">Bh", of, number) + encode(of, v) for number, of, v in value if v is not None) + b"\0"
    if kind == LIST:
        of, values = value
        return struct.pack(">Bi", of, len(values)) + b"".join(encode(of, v) for v in values)
    key, of, entries = value
    return struct.pack(">BBi", key, of, len(entries)) + b"".join(encode(key, k) + encode(of, v) for k, v in entries.items())


def reply(name, number, answer):
    """The answer is the struct in field 0 of the result."""
    return struct.pack(">I", VERSION | REPLY) + encode(STRING, name) + struct.pack(">i", number) + encode(STRUCT, [(0, STRUCT, answer)])


def refusal(name, number, text, kind):
    """A TApplicationException: 1 is an unknown method, 6 an internal error."""
    return struct.pack(">I", VERSION | EXCEPTION) + encode(STRING, name) + struct.pack(">i", number) + encode(STRUCT, [(1, STRING, text), (2, I32, kind)])
