#!/bin/sh
# `kudu` with this cluster's masters put where each command wants them: after the two words of the command.
{% set kudu = package('kudu') ~ '/kudu-binary-1.18.1-linux-x86_64' %}
export LD_LIBRARY_PATH={{ sh(kudu ~ '/lib') }} SASL_PATH={{ sh(kudu ~ '/lib/sasl2') }}
mode=$1 action=$2
if [ $# -lt 2 ]; then exec {{ sh(kudu ~ '/bin/kudu') }} "$@"; fi
shift 2
exec {{ sh(kudu ~ '/bin/kudu') }} "$mode" "$action" {% for n in range(1, nodes + 1) %}127.0.0.1:{{ port('master-' ~ n) }}{% if not loop.last %},{% endif %}{% endfor %} "$@"
