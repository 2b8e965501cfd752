//! Services that are not of Hadoop: each is brought up, spoken to by a client that is not ours, killed, repaired and brought down.

mod world;

use world::{World, good, said};

const MAIL: &str = r#"
import json, os, smtplib, sys, urllib.request
from email.message import EmailMessage
message = EmailMessage()
message["Subject"], message["From"], message["To"] = "Größe", "a@example.org", "b@example.org"
message.set_content("hello")
with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as smtp:
    if "SLUIS_DEV_CA" in os.environ:
        import ssl
        smtp.ehlo()
        refused = smtp.docmd("MAIL", "FROM:<a@example.org>")[0]
        assert refused == 530, refused
        smtp.starttls(context=ssl.create_default_context(cafile=os.environ["SLUIS_DEV_CA"]))
    try:
        smtp.login("alice", "wrong")
        sys.exit("a wrong password is let in")
    except smtplib.SMTPAuthenticationError:
        pass
    smtp.login(os.environ["SMTP_USER"], os.environ["SMTP_PASSWORD"])
    smtp.send_message(message)
inbox = json.load(urllib.request.urlopen(os.environ["SMTP_INBOX"] + "/api/v1/messages"))
print(inbox["total"], inbox["messages"][0]["Subject"])
"#;

const FTPS: &str = r#"
import ftplib, io, os, ssl, sys
host, port = os.environ["FTPS_HOST"], int(os.environ["FTPS_PORT"])
plain = ftplib.FTP()
plain.connect(host, port)
try:
    plain.login(os.environ["FTPS_USER"], os.environ["FTPS_PASSWORD"])
    sys.exit("plain FTP is let in")
except ftplib.error_perm:
    pass
ftp = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=os.environ["FTPS_CA"]))
ftp.connect(host, port)
ftp.login(os.environ["FTPS_USER"], os.environ["FTPS_PASSWORD"])
ftp.prot_p()
if sys.argv[1:] == ["put"]:
    ftp.storbinary("STOR part", io.BytesIO(b"hello"))
    ftp.rename("part", "whole")
got = io.BytesIO()
ftp.retrbinary("RETR whole", got.write, rest=1)
print(got.getvalue().decode(), ftp.size("whole"))
"#;

/// Three fetches of a table with nulls and a decimal, a refresh that takes an hour, and one that is not waited for.
const IMPALA: &str = r#"
import os, sys
from decimal import Decimal
from impala.dbapi import connect
connection = connect("localhost", int(os.environ["IMPALA_PORT"]), auth_mechanism="PLAIN", user="bob", password="bob-secret")
cursor = connection.cursor()
cursor.execute("create table wide (id int, price decimal(10,2), good boolean, at timestamp, ratio double, small tinyint)")
rows = ", ".join(f"({n}, {n}.25, true, '2026-01-02 03:04:05', 0.5, 7)" if n % 3 else f"({n}, null, null, null, null, null)" for n in range(3000))
cursor.execute("insert into wide values " + rows)
cursor.execute("select * from wide")
assert [(c[0], c[1]) for c in cursor.description][:3] == [("id", "INT"), ("price", "DECIMAL"), ("good", "BOOLEAN")], cursor.description
got = cursor.fetchall()
assert [row[0] for row in got] == list(range(3000)), len(got)
assert got[0] == (0, None, None, None, None, None), got[0]
assert got[2998][:3] == (2998, Decimal("2998.25"), True) and got[2998][3].year == 2026 and got[2998][4:] == (0.5, 7), got[2998]
with open(os.environ["IMPALA_METADATA_DELAY"], "w") as file: file.write("3600")
cursor.execute_async("refresh wide")
assert cursor.is_executing()
cursor.cancel_operation()
os.remove(os.environ["IMPALA_METADATA_DELAY"])
cursor.execute("refresh wide")
print("fine")
"#;

#[test]
fn mariadb_keeps_its_rows_through_a_kill() {
    let world = World::with(&["mariadb"], false);
    world.shell("mariadb", &["-e", "create table t (a int primary key); insert into t values (1), (2)"]);
    world.fault("mariadb", "kill");
    world.refuses("mariadb", &["-e", "select 1"]);
    world.repair();
    assert_eq!(world.shell("mariadb", &["-NBe", "select sum(a), @@binlog_format from t"]), "3\tROW\n");
}

#[test]
fn mariadb_speaks_tls_only_when_secure() {
    let world = World::with(&["mariadb"], true);
    assert!(world.shell("mariadb", &["-NBe", "show status like 'Ssl_version'"]).contains("TLSv1.3"));
    world.refuses("mariadb", &["--skip-ssl", "-e", "select 1"]);
}

#[test]
fn postgres_decodes_its_log_after_a_kill() {
    let world = World::with(&["postgres"], false);
    world.shell("postgres", &["-c", "select pg_create_logical_replication_slot('s', 'test_decoding')", "-c", "create table t (a int)"]);
    world.shell("postgres", &["-c", "insert into t values (7)"]);
    world.fault("postgres", "kill");
    world.refuses("postgres", &["-c", "select 1"]);
    world.repair();
    let changes = world.shell("postgres", &["-Atc", "select data from pg_logical_slot_get_changes('s', null, null)"]);
    assert!(changes.contains("table public.t: INSERT: a[integer]:7"), "{changes}");
}

#[test]
fn postgres_speaks_tls_only_when_secure() {
    let world = World::with(&["postgres"], true);
    assert_eq!(world.shell("postgres", &["-Atc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()"]), "t\n");
    let refused = world.refuses("postgres", &["-d", "dbname=sluis sslmode=disable", "-c", "select 1"]);
    assert!(refused.contains("no pg_hba.conf entry") || refused.contains("no encryption"), "{refused}");
}

#[test]
fn sftp_lets_in_who_has_the_key() {
    let world = World::with(&["sftp"], false);
    let batch = tempfile::NamedTempFile::new().expect("a file");
    let commands = format!("put {} part\nrename part whole\n-ls /etc\nls -l\n", batch.path().display());
    std::fs::write(batch.path(), commands).expect("written");
    let sftp = |batch: &std::path::Path| {
        let mut shell = world.cluster.shell("sftp", &[]).expect("a shell");
        // Options stand before the server's name.
        let (program, all) = (shell.get_program().to_owned(), shell.get_args().map(ToOwned::to_owned).collect::<Vec<_>>());
        let environment: Vec<_> = shell.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        shell = std::process::Command::new(program);
        shell.arg("-b").arg(batch).args(all).envs(environment).output().expect("sftp")
    };
    let said = good(&sftp(batch.path()));
    assert!(said.contains("whole"), "{said}");
    assert!(!said.contains("passwd"), "{said}");
    world.fault("sftp", "kill");
    assert!(!sftp(batch.path()).status.success());
    world.repair();
    assert!(good(&sftp(batch.path())).contains("whole"));
}

#[test]
fn ftps_takes_files_over_tls_only() {
    let world = World::with(&["ftps"], false);
    assert_eq!(good(&world.python(&format!("import sys; sys.argv = ['', 'put']\n{FTPS}"))), "ello 5\n");
    world.fault("ftps", "kill");
    assert!(!world.python(FTPS).status.success());
    world.repair();
    assert_eq!(good(&world.python(FTPS)), "ello 5\n");
}

#[test]
fn ldap_knows_people_and_their_groups() {
    let world = World::with(&["ldap"], false);
    let alice = "uid=alice,ou=people,dc=sluis,dc=test";
    assert_eq!(world.shell("ldap", &["ldapwhoami", "-x", "-D", alice, "-w", "alice-secret"]), format!("dn:{alice}\n"));
    assert!(world.refuses("ldap", &["ldapwhoami", "-x", "-D", alice, "-w", "wrong"]).contains("Invalid credentials (49)"));
    let search = ["ldapsearch", "-x", "-LLL", "-D", alice, "-w", "alice-secret", "(memberOf=cn=engineers,ou=groups,dc=sluis,dc=test)", "uid"];
    assert_eq!(world.shell("ldap", &search).lines().filter(|l| l.starts_with("uid:")).collect::<Vec<_>>(), ["uid: alice", "uid: bob"]);
    world.fault("ldap", "kill");
    assert!(world.refuses("ldap", &search).contains("Can't contact"));
    world.repair();
    assert!(world.shell("ldap", &search).contains("uid: bob"));
}

#[test]
fn ldap_takes_passwords_over_tls_only_when_secure() {
    let world = World::with(&["ldap"], true);
    let bind = ["-x", "-D", "uid=alice,ou=people,dc=sluis,dc=test", "-w", "alice-secret"];
    world.shell("ldap", &[&["ldapwhoami"], &bind[..]].concat());
    let plain = format!("ldap://127.0.0.1:{}", world.cluster.ports("ldap").expect("ports")["ldap"]);
    assert!(world.refuses("ldap", &[&["ldapwhoami", "-H", &plain], &bind[..]].concat()).contains("Confidentiality required"));
    world.shell("ldap", &[&["ldapwhoami", "-ZZ", "-H", &plain], &bind[..]].concat());
}

#[test]
fn the_kdc_gives_tickets_to_the_right_keys_only() {
    let world = World::with(&["kdc"], false);
    let keytab = |name: &str| world.cluster.folder().join("kdc/keytabs").join(format!("{name}.keytab")).to_string_lossy().into_owned();
    let cache = format!("FILE:{}", world.cluster.folder().join("cache").display());
    let kinit = |name: &str, user: &str| world.try_shell("kdc", &["kinit", "-c", &cache, "-k", "-t", &keytab(name), user]);
    let why = |name: &str, user: &str| String::from_utf8_lossy(&kinit(name, user).stderr).into_owned();
    good(&kinit("alice", "alice"));
    for service in ["hdfs", "HTTP", "hive", "kudu", "kafka", "zookeeper", "impala"] {
        world.shell("kdc", &["kvno", "-c", &cache, "-k", &keytab(service), &format!("{service}/localhost")]);
    }
    assert!(why("wrong", "wrong").contains("Password incorrect"), "{}", why("wrong", "wrong"));
    assert!(why("expired", "expired").contains("has expired"), "{}", why("expired", "expired"));
    let expired = world.export("SLUIS_DEV_EXPIRED_TICKET");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.try_shell("kdc", &["kvno", "-c", &expired, "hive/localhost"]).status.success() {
        assert!(std::time::Instant::now() < end, "the ticket lives on");
    }
    world.fault("kdc", "kill");
    assert!(why("alice", "alice").contains("Cannot contact any KDC"));
    world.repair();
    good(&kinit("alice", "alice"));
}

#[test]
fn active_directory_says_why_it_refuses() {
    let world = World::with(&["ad"], true);
    let search = |user: &str, password: &str, filter: &str| {
        world.try_shell("ad", &["ldapsearch", "-x", "-LLL", "-D", &format!("{user}@ad.test"), "-w", password, filter, "sAMAccountName"])
    };
    let nested = "(&(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:=CN=everyone,CN=Users,DC=ad,DC=test))";
    let found = good(&search("alice", "alice-secret", nested));
    assert!(found.contains("sAMAccountName: alice") && found.contains("sAMAccountName: bob") && !found.contains("sAMAccountName: admin"), "{found}");
    let refused = |user: &str, password: &str| String::from_utf8_lossy(&search(user, password, nested).stderr).into_owned();
    assert!(refused("alice", "wrong").contains("data 52e"), "{}", refused("alice", "wrong"));
    assert!(refused("disabled", "disabled-secret").contains("data 533"));
    // The principal of a service is a client too, with AES keys.
    let cache = world.cluster.folder().join("cache").to_string_lossy().into_owned();
    let line = format!("echo service-secret | kinit -c {cache} kafka/localhost && klist -e -c {cache}");
    assert!(world.shell("ad", &["sh", "-c", &line]).contains("aes256-cts"));
    world.fault("ad", "kill");
    assert!(refused("alice", "alice-secret").contains("Can't contact"));
    world.repair();
    assert!(good(&search("bob", "bob-secret", nested)).contains("sAMAccountName: alice"));
}

#[test]
fn the_mail_sink_keeps_what_it_took() {
    let world = World::with(&["smtp"], false);
    assert_eq!(good(&world.python(MAIL)), "1 Größe\n");
    world.fault("smtp", "kill");
    assert!(!world.python(MAIL).status.success());
    world.repair();
    assert_eq!(good(&world.python(MAIL)), "2 Größe\n");
}

#[test]
fn the_mail_sink_wants_tls_when_secure() {
    let world = World::with(&["smtp"], true);
    assert_eq!(good(&world.python(MAIL)), "1 Größe\n");
}

#[test]
fn kinesis_keeps_records_through_a_kill() {
    let world = World::with(&["kinesis"], false);
    let call = |operation: &str, with: &str| world.shell("kinesis", &[operation, with]);
    call("create_stream", r#"{"StreamName": "s", "ShardCount": 1}"#);
    while !call("describe_stream", r#"{"StreamName": "s"}"#).contains("ACTIVE") {}
    call("put_record", r#"{"StreamName": "s", "Data": "hello", "PartitionKey": "k"}"#);
    world.fault("kinesis", "kill");
    world.refuses("kinesis", &["list_streams"]);
    world.repair();
    let iterator = call("get_shard_iterator", r#"{"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}"#);
    assert!(call("get_records", &iterator).contains(r#""Data": "hello""#));
}

/// The shell of `impala` with other variables.
fn impala(world: &World, variables: &[(&str, &str)]) -> std::process::Output {
    let mut shell = world.cluster.shell("impala", &["select effective_user()".to_owned()]).expect("a shell");
    shell.envs(variables.iter().copied()).output().expect("a start")
}

/// A Python program that has impyla and the cluster's exports.
fn impyla(world: &World, program: &str) -> std::process::Output {
    let exports = world.cluster.client().expect("exports").exports;
    let mut python = std::process::Command::new("python3");
    python.args(["-c", program]).envs(exports).env("PYTHONPATH", world.package("impyla")).output().expect("python3")
}

#[test]
fn impala_is_a_stand_in_that_impyla_takes_for_impala() {
    let world = World::with(&["impala"], false);
    let status = world.cluster.status().expect("a status");
    let service = status.services.iter().find(|s| s.name == "impala").expect("the service");
    assert_eq!(service.about, "a stand-in that speaks Impala's protocol; it is not Impala");
    assert!(!service.stand_in.is_empty());

    let make = ["create database d", "create table d.t (a int, b string) partitioned by (p string) stored as parquet"];
    assert_eq!(world.shell("impala", &make), "Database has been created.\nTable has been created.\n");
    let fill = ["insert into d.t partition (p='x') values (1, 'one'), (2, null)", "select * from d.t", "select count(*), sum(a) from d.t"];
    assert_eq!(world.shell("impala", &fill), "2 rows\n1\tone\tx\n2\tNULL\tx\n2\t3\n");
    let change =
        ["alter table d.t add if not exists partition (p='y')", "alter table d.t add columns (n bigint)", "select n, a from d.t where a > 1"];
    assert!(world.shell("impala", &change).ends_with("\nNULL\t2\n"));
    assert_eq!(world.shell("impala", &["refresh d.t partition (p='x') partition (p='y')", "invalidate metadata d.t"]), "");
    let log = std::fs::read_to_string(world.export("IMPALA_STATEMENTS")).expect("a log");
    assert!(
        log.contains(
            r#""user": "alice", "database": "default", "statement": "refresh d.t partition (p='x') partition (p='y')", "options": {}, "error": null"#
        ),
        "{log}"
    );

    let fails = |statement: &str, why: &str| {
        let refused = world.refuses("impala", &[statement]);
        assert!(refused.contains(why), "{statement}: {refused}");
    };
    fails("select * from d.none", "AnalysisException: Could not resolve table reference: 'd.none'");
    fails("refresh d.none", "AnalysisException: Table does not exist: d.none");
    fails("refresh d.t partition (q='x')", "AnalysisException: Partition column 'q' not found");
    fails("alter table d.t add partition (p='y')", "AnalysisException: Partition spec already exists: (p='y').");
    fails("refrsh d.t", "ParseException: Syntax error in line 1:\nrefrsh d.t\n^\nEncountered: IDENTIFIER\n");
    fails("insert into d.t partition (p='x') values ('one', 'one', 1)", "is not compatible with column 'a' (type: INT)");
    fails("load data inpath '/a' into table d.t", "the stand-in for Impala does not know this statement");

    let wrong = impala(&world, &[("SLUIS_DEV_IMPALA_PASSWORD", "wrong")]);
    assert!(!wrong.status.success() && said(&wrong).contains("Error validating the login"), "{}", said(&wrong));
    assert_eq!(good(&impala(&world, &[("SLUIS_DEV_IMPALA_USER", "admin"), ("SLUIS_DEV_IMPALA_PASSWORD", "admin-secret")])), "admin\n");
    assert_eq!(good(&impala(&world, &[("SLUIS_DEV_IMPALA_AUTH", "NOSASL"), ("SLUIS_DEV_IMPALA_USER", "any")])), "any\n");
    assert_eq!(good(&impyla(&world, IMPALA)), "fine\n");

    world.fault("impala", "kill");
    world.refuses("impala", &["select 1"]);
    world.repair();
    assert_eq!(world.shell("impala", &["select b from d.t where b is not null"]), "one\n");
}

#[test]
fn impala_speaks_tls_only_when_secure() {
    let world = World::with(&["impala"], true);
    assert_eq!(good(&impala(&world, &[])), "alice\n");
    let wrong = impala(&world, &[("SLUIS_DEV_IMPALA_PASSWORD", "wrong")]);
    assert!(!wrong.status.success() && said(&wrong).contains("Error validating the login"), "{}", said(&wrong));
    let plain = "import os; from impala.dbapi import connect
connect('localhost', int(os.environ['IMPALA_PORT']), auth_mechanism='PLAIN', user='alice', password='alice-secret')";
    assert!(!impyla(&world, plain).status.success());
    world.fault("impala", "kill");
    world.repair();
    assert_eq!(good(&impala(&world, &[])), "alice\n");
}

#[test]
fn haproxy_stands_before_a_database_and_can_be_cut_off() {
    let world = World::with(&["haproxy", "postgres"], false);
    let port = world.cluster.ports("haproxy").expect("ports")["postgres"].to_string();
    let through = ["--port", &port, "-Atc", "select 'through'"];
    let wait = |good: bool| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while world.try_shell("postgres", &through).status.success() != good {
            assert!(std::time::Instant::now() < end, "the proxy does not notice");
        }
    };
    wait(true);
    world.fault("haproxy", "partition");
    world.refuses("postgres", &through);
    world.fault("haproxy", "resume");
    wait(true);
    world.fault("haproxy", "kill");
    world.refuses("postgres", &through);
    world.repair();
    wait(true);
}
