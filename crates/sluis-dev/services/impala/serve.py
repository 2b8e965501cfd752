"""A stand-in that speaks Impala's protocol (HiveServer2's TCLIService, version 6). It is not Impala.

Two ports: SASL PLAIN, and without SASL; under `--secure` only the first, in TLS. Deliberately not here: Kerberos, HTTP, a metastore, files.
Statements are in `statements.log`, one JSON object a line, written when a statement has ended. The file `metadata-delay` says how many
seconds it takes to load the metadata of a table; it is read each time.
"""

import hmac
import json
import socketserver
import ssl
import struct
import sys
import threading
import traceback
import uuid

sys.path.insert(0, "{{ dir }}")
from sql import Catalog  # noqa: E402
from wire import BOOL, DOUBLE, I16, I32, I64, LIST, MAP, STRING, STRUCT, BYTE, Malformed, Reader, refusal, reply  # noqa: E402
from words import Refused  # noqa: E402

DIR = "{{ dir }}"
SECURE = {{ 'True' if secure else 'False' }}
PASSWORDS = {user: f"{user}-secret" for user in ("alice", "bob", "admin")}
DELEGATES = {"admin"}
V6 = 5
BATCH = 1024
RUNNING, FINISHED, ERROR = 1, 2, 5
FRAME = 64 << 20
# Type -> (number in TTypeId, member of TColumn, type on the wire).
KINDS = {
    "BOOLEAN": (0, 1, BOOL), "TINYINT": (1, 2, BYTE), "SMALLINT": (2, 3, I16), "INT": (3, 4, I32), "BIGINT": (4, 5, I64), "FLOAT": (5, 6, DOUBLE),
    "DOUBLE": (6, 6, DOUBLE), "STRING": (7, 7, STRING), "TIMESTAMP": (8, 7, STRING), "BINARY": (9, 8, STRING), "DECIMAL": (15, 7, STRING),
    "NULL_TYPE": (0, 1, BOOL), "DATE": (17, 7, STRING), "VARCHAR": (18, 7, STRING), "CHAR": (19, 7, STRING),
}
OK = [(1, I32, 0)]


def failed(error):
    return [(1, I32, 3), (3, STRING, error.state), (5, STRING, error.text)]


def metadata_delay():
    try:
        with open(f"{DIR}/metadata-delay", encoding="utf-8") as file:
            return float(file.read())
    except (FileNotFoundError, ValueError):
        return 0.0


class Session:
    def __init__(self, user, config):
        self.guid, self.secret, self.user = uuid.uuid4().bytes, uuid.uuid4().bytes, user
        self.database, self.options = config.get("use:database", "default").lower(), {}
        for key, value in config.items():
            key = key.removeprefix("set:hiveconf:")
            if ":" not in key and "." not in key:
                self.options[key.upper()] = value


class Operation:
    def __init__(self, session, plan):
        self.guid, self.secret, self.session, self.plan = uuid.uuid4().bytes, uuid.uuid4().bytes, session, plan
        self.state, self.error, self.rows, self.modified, self.sent = RUNNING, None, [], None, 0
        self.ended, self.stop = threading.Event(), threading.Event()

    def handle(self):
        return [(1, STRUCT, [(1, STRING, self.guid), (2, STRING, self.secret)]), (2, I32, 0), (3, BOOL, bool(self.plan.columns))]


class Server:
    """What all connections share."""

    def __init__(self):
        self.lock, self.sessions, self.operations = threading.Lock(), {}, {}
        self.catalog = Catalog(f"{DIR}/catalog.json", lambda: threading.Event().wait(metadata_delay()))

    def log(self, session, statement, options, error):
        line = {"user": session.user, "database": session.database, "statement": statement, "options": options, "error": error and error.text}
        with self.lock, open(f"{DIR}/statements.log", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def find(self, table, handle, what):
        identifier = handle.get(1, {})
        found = table.get(identifier.get(1))
        if found is None or not hmac.compare_digest(found.secret, identifier.get(2, b"")):
            raise Refused(f"Invalid {what}: {identifier.get(1, b'').hex()}\n")
        return found

    def session(self, request):
        return self.find(self.sessions, request.get(1, {}), "session id")

    def operation(self, request):
        return self.find(self.operations, request.get(1, {}), "query handle")

    def run(self, operation, statement, options):
        """Runs the plan beside the connection, as Impala does."""
        stop = operation.stop if operation.plan.can_stop else threading.Event()
        error = None
        try:
            if operation.plan.loads:
                stop.wait(metadata_delay())
            with self.catalog.lock:
                rows, modified = operation.plan.run()
                self.catalog.keep()
        except Refused as refused:
            error = refused
        except Exception as fault:  # A bug of ours: the statement fails, and does not hang.
            traceback.print_exc()
            error = Refused(f"the stand-in for Impala failed: {fault!r}\n")
        self.log(operation.session, statement, options, error)
        with self.lock:
            if not operation.ended.is_set():
                if error is None:
                    operation.state, operation.rows, operation.modified = FINISHED, rows, modified
                else:
                    operation.state, operation.error = ERROR, error
                operation.ended.set()

    # Calls: a request to the fields of its answer after the status.

    def open_session(self, request, user):
        config = {k.decode(): v.decode() for k, v in request.get(4, {}).items()}
        user = user or request.get(2, b"anonymous").decode()
        other = config.pop("impala.doas.user", user)
        if other != user and user not in DELEGATES:
            raise Refused(f"User '{user}' is not authorized to delegate to '{other}'.\n")
        session = Session(other, config)
        self.catalog.database(session.database)
        self.sessions[session.guid] = session
        return [(2, I32, min(request.get(1, 0), V6)), (3, STRUCT, [(1, STRUCT, [(1, STRING, session.guid), (2, STRING, session.secret)])])]

    def close_session(self, request, _):
        session = self.session(request)
        del self.sessions[session.guid]
        for operation in [o for o in self.operations.values() if o.session is session]:
            self.close(operation)
        return []

    def get_info(self, request, _):
        self.session(request)
        text = {13: "Impala", 17: "Impala", 18: "0.0.0, a stand-in of sluis dev"}.get(request.get(2))
        if text is None:
            raise Refused("Unsupported operation\n", "HYC00")
        return [(2, STRUCT, [(1, STRING, text)])]

    def execute(self, request, _):
        session, statement = self.session(request), request.get(2, b"").decode("utf-8", "replace")
        overlay = {k.decode().upper(): v.decode() for k, v in request.get(3, {}).items()}
        options = session.options | overlay
        try:
            plan = self.catalog.plan(statement, session)
        except Refused as error:
            self.log(session, statement, options, error)
            raise
        except RecursionError:
            raise Refused("the stand-in for Impala: the statement nests too deep\n") from None
        operation = Operation(session, plan)
        self.operations[operation.guid] = operation
        threading.Thread(target=self.run, args=(operation, statement, options), daemon=True).start()
        return [(2, STRUCT, operation.handle())]

    def status(self, request, _):
        operation = self.operation(request)
        fields = [(2, I32, operation.state)]
        if operation.error:
            fields += [(3, STRING, operation.error.state), (5, STRING, operation.error.text)]
        return fields + [(9, BOOL, bool(operation.plan.columns))]

    def metadata(self, request, _):
        columns = []
        for position, (name, kind, comment) in enumerate(self.operation(request).plan.columns, 1):
            base, *sizes = kind.replace("(", ",").rstrip(")").split(",")
            names = {"DECIMAL": ("precision", "scale"), "VARCHAR": ("characterMaximumLength",), "CHAR": ("characterMaximumLength",)}.get(base, ())
            values = {n: [(1, I32, int(size))] for n, size in zip(names, sizes)}
            entry = [(1, I32, KINDS[base][0]), (2, STRUCT, [(1, MAP, (STRING, STRUCT, values))] if values else None)]
            described = [(1, LIST, (STRUCT, [[(1, STRUCT, entry)]]))]
            columns.append([(1, STRING, name), (2, STRUCT, described), (3, I32, position), (4, STRING, comment or None)])
        return [(2, STRUCT, [(1, LIST, (STRUCT, columns))])]

    def fetch(self, request, _):
        operation = self.operation(request)
        if request.get(2, 0) not in (0, 4):
            raise Refused("Fetch type not supported\n", "HYC00")
        if request.get(2) == 4 and operation.sent:
            raise Refused("Restarting of fetch requires enabling of query result caching.\n")
        wait = int(operation.session.options.get("FETCH_ROWS_TIMEOUT_MS", "10000"))
        if not operation.ended.wait(wait / 1000 or None):
            return None
        if operation.error:
            raise operation.error
        begin = operation.sent
        operation.sent = min(len(operation.rows), begin + max(0, min(request.get(3, BATCH), BATCH)))
        rows = operation.rows[begin : operation.sent]
        columns = [column(kind, [row[at] for row in rows]) for at, (_, kind, _) in enumerate(operation.plan.columns)]
        results = [(1, I64, begin), (2, LIST, (STRUCT, [])), (3, LIST, (STRUCT, columns))]
        return [(2, BOOL, operation.sent < len(operation.rows)), (3, STRUCT, results)]

    def close(self, operation):
        operation.stop.set()
        self.operations.pop(operation.guid, None)
        return []

    def close_operation(self, request, _):
        return self.close(self.operation(request))

    def close_impala_operation(self, request, _):
        operation = self.operation(request)
        self.close(operation)
        if operation.modified is None:
            return []
        return [(2, STRUCT, [(1, MAP, (STRING, I64, operation.modified))])]

    def cancel(self, request, _):
        operation = self.operation(request)
        with self.lock:
            if not operation.ended.is_set():
                operation.state, operation.error = ERROR, Refused("Cancelled\n")
                operation.ended.set()
        operation.stop.set()
        return []

    def get_log(self, request, _):
        operation = self.operation(request)
        return [(2, STRING, operation.error.text if operation.error else "")]

    CALLS = {
        "OpenSession": open_session, "CloseSession": close_session, "GetInfo": get_info, "ExecuteStatement": execute, "GetOperationStatus": status,
        "GetResultSetMetadata": metadata, "FetchResults": fetch, "CloseOperation": close_operation, "CloseImpalaOperation": close_impala_operation,
        "CancelOperation": cancel, "GetLog": get_log,
    }

    def answer(self, name, number, arguments, user):
        call = self.CALLS.get(name)
        if call is None:
            return refusal(name, number, f"Invalid method name: '{name}'", 1)
        try:
            fields = call(self, arguments.get(1, {}), user)
        except Refused as error:
            return reply(name, number, [(1, STRUCT, failed(error))])
        except (AttributeError, TypeError, UnicodeDecodeError) as error:
            return refusal(name, number, f"the request has not the shape of {name}: {error}", 6)
        if fields is None:
            return reply(name, number, [(1, STRUCT, [(1, I32, 2)])])
        return reply(name, number, [(1, STRUCT, OK), *fields])


def column(kind, values):
    """A column as TColumn: values with a placeholder where there is none, and bits, lowest first, that say where that is."""
    base = kind.split("(")[0]
    _, member, of = KINDS[base]
    nulls = bytearray((len(values) + 7) // 8)
    for at, value in enumerate(values):
        if value is None:
            nulls[at // 8] |= 1 << at % 8
    empty = {BOOL: False, DOUBLE: 0.0, STRING: ""}.get(of, 0)
    shown = [empty if v is None else str(v) if of == STRING else v for v in values]
    return [(member, STRUCT, [(1, LIST, (of, shown)), (2, STRING, bytes(nulls))])]


SERVER = Server()


class Connection(socketserver.BaseRequestHandler):
    sasl = True

    def handle(self):
        try:
            if SECURE:
                self.request = TLS.wrap_socket(self.request, server_side=True)
            self.frames, self.user = b"", None
            if self.sasl and not self.negotiate():
                return
            reader = Reader(self.framed if self.sasl else self.raw)
            while True:
                name, number, arguments = reader.message()
                data = SERVER.answer(name, number, arguments, self.user)
                self.request.sendall((struct.pack(">I", len(data)) if self.sasl else b"") + data)
        except EOFError:
            pass
        except (Malformed, OSError, TypeError, struct.error) as error:
            print(f"{self.client_address}: {error}", file=sys.stderr, flush=True)
        except Exception:  # A bug of ours: it is shown, and ends one connection.
            traceback.print_exc()

    def raw(self, n):
        parts = []
        while n > 0:
            part = self.request.recv(min(n, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def framed(self, n):
        """Frames are a stream: a message may lie in several."""
        while len(self.frames) < n:
            length = struct.unpack(">I", self.raw(4))[0]
            if length > FRAME:
                raise Malformed(f"a frame of {length} bytes")
            self.frames += self.raw(length)
        data, self.frames = self.frames[:n], self.frames[n:]
        return data

    def said(self):
        status, length = struct.unpack(">BI", self.raw(5))
        if length > 1 << 16:
            raise Malformed(f"a negotiation of {length} bytes")
        return status, self.raw(length)

    def say(self, status, text=""):
        self.request.sendall(struct.pack(">BI", status, len(text)) + text.encode())
        return status == 5

    def negotiate(self):
        status, mechanism = self.said()
        if status != 1 or mechanism != b"PLAIN":
            return self.say(3, "Unsupported mechanism type " + mechanism.decode("ascii", "replace"))
        status, answer = self.said()
        parts = answer.split(b"\0")
        if status not in (2, 5) or len(parts) != 3:
            return self.say(3, "Invalid message format")
        user = parts[1].decode("utf-8", "replace")
        right = hmac.compare_digest(PASSWORDS.get(user, "").encode(), parts[2]) and user in PASSWORDS
        if not right or parts[0] not in (b"", parts[1]):
            return self.say(3, "Error validating the login")
        self.user = user
        return self.say(5)


class Plain(Connection):
    sasl = False


class Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if SECURE:
    TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    TLS.load_cert_chain("{{ dir_of('ca') }}/server.pem")

{% if not secure %}
plain = Listener(("127.0.0.1", {{ port('nosasl') }}), Plain)
threading.Thread(target=plain.serve_forever, daemon=True).start()
{% endif %}
Listener(("127.0.0.1", {{ port('hs2') }}), Connection).serve_forever()
