# Makes the realm, its principals and their keytabs. Passwords of users are <name>-secret, which their keytabs keep.
set -eu
keytabs={{ sh(dir ~ '/keytabs') }}
mkdir -p {{ sh(dir ~ '/db') }} "$keytabs"
: > {{ sh(dir ~ '/db/acl') }}
kdb5_util create -r SLUIS.TEST -s -P master
{
  for service in hdfs HTTP yarn hive impala kudu kafka zookeeper ldap postgres sluis; do
    for host in localhost 127.0.0.1; do
      echo "addprinc -randkey $service/$host"
      echo "ktadd -norandkey -k $keytabs/$service.keytab $service/$host"
    done
  done
  # `sluis` is also whom the services' own tools log in as.
  for user in alice bob admin sluis; do
    echo "addprinc -pw $user-secret $user"
    echo "ktadd -norandkey -k $keytabs/$user.keytab $user"
  done
  # The right name with a key that the realm has forgotten.
  echo "addprinc -randkey wrong"
  echo "ktadd -k $keytabs/wrong.keytab wrong"
  echo "cpw -randkey wrong"
  echo "purgekeys wrong"
  # Whose time is over.
  echo "addprinc -pw expired-secret -expire yesterday expired"
  echo "ktadd -norandkey -k $keytabs/expired.keytab expired"
} | kadmin.local
for made in alice bob admin wrong expired kafka hdfs; do
  test -s "$keytabs/$made.keytab"
done
