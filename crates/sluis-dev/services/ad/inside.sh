# Runs a program with the unpacked Samba laid over /usr, in a mount namespace of its own: Samba finds its parts by fixed paths.
set -eu
mount --make-rprivate /
{% if package('ad') %}
mount -t overlay overlay -o {{ sh('lowerdir=' ~ package('ad') ~ '/usr:/usr') }} /usr
{% endif %}
mount -t tmpfs tmpfs /run
[ $# -gt 0 ] || set -- sh
exec "$@"
