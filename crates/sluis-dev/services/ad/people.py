"""Users and groups of the domain, written to its database before the server starts."""

from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

parameters = LoadParm()
parameters.load("{{ dir }}/smb.conf")
domain = SamDB(url="{{ dir }}/ad/private/sam.ldb", session_info=system_session(), lp=parameters)
for name in ["alice", "bob", "admin", "disabled"]:
    domain.newuser(name, f"{name}-secret", mailaddress=f"{name}@ad.test", givenname=name.capitalize())
domain.setpassword("(sAMAccountName=Administrator)", "admin-secret")
# A service's own account, with AES keys: its principal is also the name it logs in with.
for service in ["kafka", "hive"]:
    domain.newuser(f"svc-{service}", "service-secret")
    domain.modify_ldif(
        f"dn: CN=svc-{service},CN=Users,DC=ad,DC=test\nchangetype: modify\n"
        f"replace: userPrincipalName\nuserPrincipalName: {service}/localhost@AD.TEST\n"
        f"-\nadd: servicePrincipalName\nservicePrincipalName: {service}/localhost\n"
        "-\nreplace: msDS-SupportedEncryptionTypes\nmsDS-SupportedEncryptionTypes: 24\n"
    )
    domain.setpassword(f"(sAMAccountName=svc-{service})", "service-secret")
for group, members in [("engineers", ["alice", "bob"]), ("analysts", ["bob"]), ("everyone", ["engineers", "analysts"])]:
    domain.newgroup(group)
    domain.add_remove_group_members(group, members, add_members_operation=True)
domain.disable_account("(sAMAccountName=disabled)")
