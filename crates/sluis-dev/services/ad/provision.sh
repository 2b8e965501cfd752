set -eu
cd {{ sh(dir) }}
samba-tool domain provision --targetdir={{ sh(dir ~ '/ad') }} --realm=AD.TEST --domain=ADT --server-role=dc --dns-backend=NONE \
  --adminpass='Adm1n-Secret' --host-name=dc1 --host-ip={{ address }} --option={{ sh('posix:eadb=' ~ dir ~ '/ad/eadb.tdb') }} \
  --option='interfaces={{ address }}/8' --option='bind interfaces only=yes' --option='vfs objects=dfs_samba4 acl_xattr xattr_tdb'
mkdir -p ad/run ad/ncalrpc ad/tls ad/state ad/cache
samba-tool domain passwordsettings set --complexity=off --min-pwd-length=6 --min-pwd-age=0 --max-pwd-age=0 --history-length=0 --configfile=smb.conf
/usr/bin/python3 people.py
{% if secure %}
# The address is this cluster's own, so that the certificate is too.
umask 077
openssl req -newkey rsa:2048 -nodes -keyout ad/tls/key.pem -subj /CN=dc1.ad.test -out ad/tls/request.pem
printf 'subjectAltName=IP:{{ address }},DNS:dc1.ad.test\nextendedKeyUsage=serverAuth\n' > ad/tls/extensions
openssl x509 -req -in ad/tls/request.pem -CA {{ sh(dir_of('ca') ~ '/ca.crt') }} -CAkey {{ sh(dir_of('ca') ~ '/ca.key') }} -CAcreateserial -CAserial ad/tls/serial -days 3650 -extfile ad/tls/extensions -out ad/tls/cert.pem
{% endif %}
