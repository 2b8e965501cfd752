#!/bin/sh
# An authority, a certificate for localhost, one whose time is over, and the stores that Java wants.
set -eu
cd {{ sh(dir) }}
mkdir -p {{ sh(client) }}
umask 077
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=sluis dev authority' -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3649 -extfile server.cnf -out server.crt
mkdir -p expired
: >expired/index
openssl ca -batch -notext -config expired.cnf -in server.csr -startdate 20200101000000Z -enddate 20200102000000Z -out expired.crt
openssl pkcs8 -topk8 -nocrypt -in server.key -out server.p8
cat server.key server.crt ca.crt >server.pem
cat server.key expired.crt ca.crt >expired.pem
openssl pkcs12 -export -in server.crt -inkey server.key -certfile ca.crt -name server -passout pass:changeit -out server.p12
# Java trusts only what its own tool has put there. Who has no Java has no use for it.
keytool="${JAVA_HOME:+$JAVA_HOME/bin/}keytool"
rm -f truststore.p12
if command -v "$keytool" >/dev/null; then
  "$keytool" -importcert -noprompt -alias ca -file ca.crt -keystore truststore.p12 -storetype PKCS12 -storepass changeit
  install -m 644 truststore.p12 {{ sh(client) }}/truststore.p12
fi
chmod 644 ca.crt server.crt expired.crt
install -m 644 ca.crt {{ sh(client) }}/ca.crt
