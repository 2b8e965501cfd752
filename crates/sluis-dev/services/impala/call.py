"""`call.py STATEMENT…`: each statement by impyla; rows with tabs between columns. A statement without rows says how many it changed, if any.

SLUIS_DEV_IMPALA_USER, SLUIS_DEV_IMPALA_PASSWORD and SLUIS_DEV_IMPALA_AUTH (NOSASL for the port without SASL) make it another user.
"""

import os
import sys

from impala.dbapi import connect
from impala.error import Error

auth = os.environ.get("SLUIS_DEV_IMPALA_AUTH", "PLAIN")
user = os.environ.get("SLUIS_DEV_IMPALA_USER", "alice")
connection = connect(
    host="localhost",
{% if secure %}
    port={{ port('hs2') }},
{% else %}
    port={{ port('hs2') }} if auth != "NOSASL" else {{ port('nosasl') }},
{% endif %}
    auth_mechanism=auth,
    user=user,
    password=os.environ.get("SLUIS_DEV_IMPALA_PASSWORD", "alice-secret"),
{% if secure %}
    use_ssl=True,
    verify_cert=True,
    ca_cert="{{ dir_of('ca') }}/ca.crt",
{% endif %}
)
cursor = connection.cursor(user=user)
for statement in sys.argv[1:] or ["select version()"]:
    try:
        cursor.execute(statement)
    except Error as error:
        sys.exit(str(error))
    if cursor.has_result_set:
        for row in cursor:
            print("\t".join("NULL" if value is None else str(value) for value in row))
    elif cursor.rowcount >= 0:
        print(f"{cursor.rowcount} rows")
connection.close()
