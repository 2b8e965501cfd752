//! One realm, one authority: services under Kerberos and TLS, and what becomes of wrong, missing and expired credentials.

mod world;

use std::process::{Command, Output};

use world::{World, good, said};

/// The service's shell with one of its arguments, and more variables, replaced.
fn otherwise(world: &World, service: &str, arguments: &[&str], replace: (&str, &str), variables: &[(&str, &str)]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let shell = world.cluster.shell(service, &arguments).expect("a shell");
    let mut command = Command::new(shell.get_program());
    command.args(shell.get_args().map(|a| if a == replace.0 { replace.1.as_ref() } else { a }));
    command.envs(shell.get_envs().filter_map(|(k, v)| Some((k, v?)))).envs(variables.iter().copied());
    command.stdin(std::process::Stdio::null()).output().expect("a start")
}

#[test]
fn kafka_takes_the_right_keytab_over_tls_only() {
    let world = World::with(&["kafka"], true);
    world.shell("kafka", &["--create", "--topic", "rides", "--partitions", "1"]);
    assert_eq!(world.shell("kafka", &["--list"]), "rides\n");
    let properties = world.cluster.client_folder().join("kafka.properties");
    let right = std::fs::read_to_string(&properties).expect("properties");
    let try_with = |text: &str| {
        let other = world.cluster.folder().join("other.properties");
        std::fs::write(&other, text).expect("written");
        let paths = (properties.to_string_lossy().into_owned(), other.to_string_lossy().into_owned());
        otherwise(&world, "kafka", &["--list"], (&paths.0, &paths.1), &[])
    };
    assert_eq!(good(&try_with(&right)), "rides\n");
    let wrong = try_with(&right.replace("alice.keytab", "wrong.keytab").replace("alice@", "wrong@"));
    assert!(!wrong.status.success() && said(&wrong).contains("Checksum failed"), "{}", said(&wrong));
    let expired = try_with(&right.replace("alice.keytab", "expired.keytab").replace("alice@", "expired@"));
    assert!(!expired.status.success() && said(&expired).contains("expired"), "{}", said(&expired));
    let scram = right.replace("GSSAPI", "SCRAM-SHA-512");
    let jaas = scram.lines().find(|l| l.starts_with("sasl.jaas.config")).expect("a line").to_owned();
    let scram = scram.replace(
        &jaas,
        r#"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="alice-secret";"#,
    );
    assert_eq!(good(&try_with(&scram)), "rides\n");
    world.fault("kafka", "kill");
    world.repair();
    assert_eq!(world.shell("kafka", &["--list"]), "rides\n");
}

#[test]
fn kudu_takes_tickets_that_are_good() {
    let world = World::with(&["kudu"], true);
    world.shell("kudu", &["perf", "loadgen", "--num_rows_per_thread=100", "--num_threads=1", "--keep_auto_table=true", "--table_num_replicas=1"]);
    let tables = world.shell("kudu", &["table", "list"]);
    assert!(tables.contains("loadgen_auto_"), "{tables}");
    let with = |cache: &str| otherwise(&world, "kudu", &["table", "list"], ("", ""), &[("KRB5CCNAME", cache)]);
    let none = with("FILE:/nonexistent");
    assert!(!none.status.success() && said(&none).contains("does not have Kerberos credentials available"), "{}", said(&none));
    let exports = world.cluster.client().expect("exports").exports;
    let expired = with(&exports["SLUIS_DEV_EXPIRED_TICKET"]);
    assert!(!expired.status.success(), "{}", said(&expired));
    // Bob has a good ticket and is on no list.
    let keytabs = exports["SLUIS_DEV_KEYTABS"].clone();
    let cache = format!("FILE:{}", world.cluster.folder().join("bob").display());
    world.shell("kdc", &["kinit", "-c", &cache, "-k", "-t", &format!("{keytabs}/bob.keytab"), "bob"]);
    let bob = with(&cache);
    assert!(!bob.status.success() && said(&bob).contains("Not authorized"), "{}", said(&bob));
    world.fault("kudu", "kill");
    world.repair();
    assert_eq!(world.shell("kudu", &["table", "list"]), tables);
}

#[test]
fn hdfs_is_private_and_knows_who_asks() {
    let world = World::with(&["hdfs"], true);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(file.path(), &bytes).expect("written");
    let path = file.path().to_string_lossy().into_owned();
    world.shell("hdfs", &["-mkdir", "-p", "/user/alice"]);
    world.shell("hdfs", &["-chown", "alice", "/user/alice"]);
    let exports = world.cluster.client().expect("exports").exports;
    let cache = format!("FILE:{}", world.cluster.folder().join("alice").display());
    world.shell("kdc", &["kinit", "-c", &cache, "-k", "-t", &format!("{}/alice.keytab", exports["SLUIS_DEV_KEYTABS"]), "alice"]);
    let with = |cache: &str, arguments: &[&str]| otherwise(&world, "hdfs", arguments, ("", ""), &[("KRB5CCNAME", cache)]);
    good(&with(&cache, &["-put", &path, "/user/alice/data"]));
    let denied = with(&cache, &["-put", &path, "/data"]);
    assert!(!denied.status.success() && said(&denied).contains("Permission denied: user=alice"), "{}", said(&denied));
    for bad in ["FILE:/nonexistent", &exports["SLUIS_DEV_EXPIRED_TICKET"]] {
        let refused = with(bad, &["-ls", "/"]);
        assert!(!refused.status.success() && said(&refused).contains("Client cannot authenticate via:[TOKEN, KERBEROS]"), "{}", said(&refused));
    }
    world.fault("hdfs", "kill");
    world.repair();
    let back = world.cluster.folder().join("back");
    good(&with(&cache, &["-get", "/user/alice/data", &back.to_string_lossy()]));
    assert!(std::fs::read(&back).expect("read") == bytes, "other bytes came back");
}

#[test]
fn hive_knows_who_asks_and_speaks_tls() {
    let world = World::with(&["hiveserver2"], true);
    let statements =
        ["create table first (id int, name string)", "insert into first values (1, 'one'), (2, 'two')", "select count(*), sum(id) from first"];
    assert_eq!(world.shell("hiveserver2", &statements).trim(), "2\t3");
    let exports = world.cluster.client().expect("exports").exports;
    let with = |cache: &str| otherwise(&world, "hiveserver2", &["select logged_in_user()"], ("", ""), &[("KRB5CCNAME", cache)]);
    let cache = format!("FILE:{}", world.cluster.folder().join("alice").display());
    world.shell("kdc", &["kinit", "-c", &cache, "-k", "-t", &format!("{}/alice.keytab", exports["SLUIS_DEV_KEYTABS"]), "alice"]);
    assert_eq!(good(&with(&cache)).trim(), "alice");
    for bad in ["FILE:/nonexistent", &exports["SLUIS_DEV_EXPIRED_TICKET"]] {
        let refused = with(bad);
        assert!(!refused.status.success() && said(&refused).contains("GSS initiate failed"), "{}", said(&refused));
    }
    // Without TLS nobody gets as far as a ticket.
    let url = &exports["HIVESERVER2"];
    let plain = otherwise(&world, "hiveserver2", &["select 1"], (url, &url.replace("ssl=true", "ssl=false")), &[]);
    assert!(!plain.status.success(), "{}", said(&plain));
    world.fault("hiveserver2", "kill");
    world.fault("metastore", "kill");
    world.repair();
    assert_eq!(world.shell("hiveserver2", &["select count(*) from first"]).trim(), "2");
}
