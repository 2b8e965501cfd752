# Tells the proxy to send nothing to the servers behind it (maint), or to do so again (ready).
set -eu
exec 3<>/dev/tcp/127.0.0.1/{{ port('admin') }}
echo 'show servers state' >&3
sed -n 's/^[0-9]\{1,\} \([^ ]*\) [0-9]\{1,\} \([^ ]*\) .*/\1\/\2/p' <&3 | while read -r server; do
  exec 4<>/dev/tcp/127.0.0.1/{{ port('admin') }}
  echo "set server $server state $1" >&4
  [ "$1" = ready ] || { exec 5<>/dev/tcp/127.0.0.1/{{ port('admin') }}; echo "shutdown sessions server $server" >&5; cat <&5; }
  cat <&4
done
