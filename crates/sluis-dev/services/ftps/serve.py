"""Serves one folder to alice; control and data connections only over TLS."""

import os

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

users = DummyAuthorizer()
users.add_user("alice", "alice-secret", "{{ dir }}/data", perm="elradfmwMT")


class Handler(TLS_FTPHandler):
    certfile = "{{ dir_of('ca') }}/server.pem"
    tls_control_required = True
    tls_data_required = True
    authorizer = users
    banner = "sluis dev"
    passive_ports = [{% for n in range(8) %}{{ port('data' ~ n) }}, {% endfor %}]


os.umask(0o022)
FTPServer(("127.0.0.1", {{ port('control') }}), Handler).serve_forever()
