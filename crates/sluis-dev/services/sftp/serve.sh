set -eu
{% if root %}
# In a mount namespace of its own: users that only this server knows, and folders below a path that is root's all the way, as its chroot wants.
mount --make-rprivate /
{ cat /etc/passwd
  echo 'alice:x:65532:65532::/:/usr/sbin/nologin'
  echo 'bob:x:65533:65533::/:/usr/sbin/nologin'
  grep -q '^sshd:' /etc/passwd || echo 'sshd:x:65531:65534::/run/sshd:/usr/sbin/nologin'
} > passwd
umask 077
{ cat /etc/shadow
  # alice-secret and bob-secret.
  echo 'alice:$6$sluisdev$Yz/zWlijWRnsxSDV7TGExWYx1Uvl7TDxrVm.NNPnzbVNB6Ial.FnYaMYS5GHhDYiwELnOB.HMvgAqTpRnywYl1:19000:0:99999:7:::'
  echo 'bob:$6$sluisdev$VX7ye3UyiG/U8XEgtp3Jem.lyD5MvZOni.opvn0vlyXHpz/FgC3QQtQLaVbS/IUHIfMLr1U1/zSsRX.MKOF40.:19000:0:99999:7:::'
} > shadow
umask 022
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/sluis-sftp/data /run/sluis-sftp/authorized
mount --bind {{ sh(dir ~ '/data') }} /run/sluis-sftp/data
mount --bind {{ sh(dir ~ '/authorized') }} /run/sluis-sftp/authorized
mount --bind {{ sh(dir ~ '/passwd') }} /etc/passwd
mount --bind {{ sh(dir ~ '/shadow') }} /etc/shadow
{% endif %}
# By its whole path, since it starts itself again for every session.
exec "$(command -v sshd)" -D -e -f {{ sh(dir ~ '/sshd_config') }}
