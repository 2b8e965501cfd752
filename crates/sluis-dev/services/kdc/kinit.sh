#!/bin/sh
# kinit in this realm, whatever the caller's libraries are.
export KRB5_CONFIG={{ sh(dir ~ '/krb5.conf') }}
{% if package('kdc') %}
export LD_LIBRARY_PATH={{ sh(package('kdc') ~ '/usr/lib/' ~ arch ~ '-linux-gnu') }}
{% endif %}
exec {{ sh(package('kdc') ~ '/usr/bin/kinit') }} "$@"
