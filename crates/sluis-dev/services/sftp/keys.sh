# The server's key, a key per user, and what a client needs to trust the server.
set -eu
cd {{ sh(dir) }}
mkdir -p keys authorized
for name in host alice bob; do
  ssh-keygen -q -t ed25519 -N '' -C "$name" -f "keys/$name"
done
cp keys/alice.pub authorized/alice
cp keys/bob.pub authorized/bob
chmod 755 authorized data data/alice data/bob
{% if root %}
chown 65532:65532 data/alice/in
chown 65533:65533 data/bob/in
{% endif %}
printf '[127.0.0.1]:%s %s\n' {{ port('ssh') }} "$(cut -d' ' -f1,2 keys/host.pub)" > known_hosts
