#!/bin/sh
# An authority, a certificate for localhost, an expired one, and the stores that Java wants.
set -eu
cd {{ sh(dir) }}
mkdir -p {{ sh(client) }}
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=sluis dev authority' -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout server.key -out server.csr
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3649 -extfile server.cnf -out server.crt
openssl pkcs8 -topk8 -nocrypt -in server.key -out server.p8
cat server.key server.crt ca.crt >server.pem
openssl pkcs12 -export -in server.crt -inkey server.key -certfile ca.crt -name server -passout pass:changeit -out server.p12
rm -f truststore.p12
keytool -importcert -noprompt -alias ca -file ca.crt -keystore truststore.p12 -storetype PKCS12 -storepass changeit
chmod 600 ca.key server.key server.p8 server.pem
cp ca.crt {{ sh(client) }}/ca.crt
cp truststore.p12 {{ sh(client) }}/truststore.p12
