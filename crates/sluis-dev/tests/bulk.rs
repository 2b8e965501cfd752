//! The services that data lands in, in bulk: up, asked by a client that is not ours, hurt, repaired, down.
//!
//! Deliberately not here: the command line (`tests/cli`), and facts of clusters as such (`clusters.rs`).

mod world;

use std::process::Stdio;

use sluis_dev::ServiceState;
use world::{World, output};

/// What every service must stand, whatever it is. `client` uses it, and fails the test if it does not serve.
fn stands(service: &str, client: impl Fn(&World, &str)) {
    let world = World::new();
    stands_in(&world, service, client);
    world.down();
}

/// The same in a cluster that others use too.
fn stands_in(world: &World, service: &str, client: impl Fn(&World, &str)) {
    let name = service.split(':').next().unwrap_or(service);
    world.up(&[service]);
    client(world, "first");

    let listeners = world.cluster.listeners();
    assert!(!listeners.is_empty(), "{service} listens nowhere");
    let strangers: Vec<String> = listeners.iter().filter(|l| !l.address.is_loopback()).map(ToString::to_string).collect();
    assert!(strangers.is_empty(), "{service} listens beyond loopback: {strangers:?}");

    world.quick_status();
    world.fault(name, "pause");
    assert_eq!(world.state(name), ServiceState::Paused);
    world.fault(name, "resume");
    world.until(name, ServiceState::Ready);

    world.fault(name, "kill");
    assert_eq!(world.state(name), ServiceState::Down);
    world.up(&[service]);
    client(world, "second");
}

#[test]
fn s3_by_pyarrow() {
    stands("s3", |world, word| {
        let script = "import sys, pyarrow.fs as fs
s3 = fs.S3FileSystem(access_key='sluis-dev', secret_key='sluis-dev-secret', endpoint_override=sys.argv[1], scheme='http', allow_bucket_creation=True)
s3.create_dir(sys.argv[2])
with s3.open_output_stream(sys.argv[2] + '/a') as f: f.write(b'bytes')
print(s3.open_input_file(sys.argv[2] + '/a').read().decode())";
        let endpoint = world.export("AWS_ENDPOINT_URL").replace("http://", "");
        let python = sluis_testkit::services::python();
        let said = output(std::process::Command::new(python).args(["-c", script, &endpoint, &format!("{word}-bucket")]));
        assert_eq!(said.trim(), "bytes");
    });
}

#[test]
fn kudu_by_its_own_tool() {
    stands("kudu", |world, word| {
        let schema = format!(
            r#"{{"table_name":"{word}","schema":{{"columns":[{{"column_name":"id","column_type":"INT64"}}],"key_column_names":["id"]}},
               "partition":{{"hash_partitions":[{{"columns":["id"],"num_buckets":2}}]}},"num_replicas":3}}"#
        );
        world.shell("kudu", &["table", "create", &schema]);
        world.shell("kudu", &["perf", "loadgen", &format!("--table_name={word}"), "--num_threads=1", "--num_rows_per_thread=100"]);
        let rows = world.shell("kudu", &["table", "scan", word, "--show_values=true"]);
        assert!(rows.contains("Total count 100 "), "{rows}");
        let tables = world.shell("kudu", &["table", "list"]);
        assert!(tables.contains("first"), "{tables}");
    });
}

#[test]
fn zookeeper_by_its_own_shell() {
    stands("zookeeper", |world, word| {
        world.shell("zookeeper", &["create", &format!("/{word}"), "value"]);
        assert!(world.shell("zookeeper", &["get", "/first"]).contains("value"));
    });
}

#[test]
fn kafka_by_its_own_tools() {
    stands("kafka", |world, word| {
        world.shell("kafka", &["--create", "--topic", word]);
        let servers = world.export("KAFKA");
        let tool = |class: &str, more: &[&str]| {
            let mut command = world.cluster.shell("kafka", &[]).expect("a shell");
            // The same Java with another class.
            let before: Vec<String> =
                command.get_args().map(|a| a.to_string_lossy().into_owned()).take_while(|a| !a.starts_with("org.apache")).collect();
            let program = command.get_program().to_owned();
            command = std::process::Command::new(program);
            command.args(before).arg(class).args(["--bootstrap-server", &servers, "--topic", word]).args(more);
            command
        };
        let mut producer = tool("org.apache.kafka.tools.ConsoleProducer", &[]).stdin(Stdio::piped()).spawn().expect("a producer");
        std::io::Write::write_all(&mut producer.stdin.take().expect("a pipe"), b"one\ntwo\n").expect("a write");
        assert!(producer.wait().expect("an end").success());
        let said = output(&mut tool(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            &["--from-beginning", "--max-messages", "2", "--timeout-ms", "60000"],
        ));
        assert!(said.contains("one\ntwo\n"), "{said}");
        let topics = world.shell("kafka", &["--list"]);
        assert!(topics.contains("first"), "{topics}");
    });
}

#[test]
fn hdfs_by_its_own_shell_and_by_curl() {
    stands("hdfs", |world, word| {
        world.shell("hdfs", &["-mkdir", "-p", &format!("/{word}")]);
        let file = world.folder.path().join(word);
        std::fs::write(&file, "in a block").expect("a file");
        world.shell("hdfs", &["-put", &file.to_string_lossy(), &format!("/{word}/a")]);
        assert!(world.shell("hdfs", &["-cat", "/first/a"]).contains("in a block"));
        let port = world.cluster.ports("hdfs").expect("ports")["namenode-web"];
        let url = format!("http://127.0.0.1:{port}/webhdfs/v1/{word}/a?op=OPEN");
        assert_eq!(output(std::process::Command::new("curl").args(["-sfL", &url])), "in a block");
    });
}

#[test]
fn hive_by_its_own_clients_and_yarn_by_its_own_tool() {
    let world = World::new();
    world.up(&["hiveserver2", "yarn"]);
    stands_in(&world, "metastore", databases);
    stands_in(&world, "hiveserver2", |world, word| {
        let statements = [
            &format!("create table {word} (a int, b string) partitioned by (d string) stored as parquet"),
            &format!("insert into {word} partition (d = 'x') values (1, 'one'), (2, 'two')"),
            &format!("select count(*), sum(a) from {word}"),
        ];
        assert_eq!(world.shell("hiveserver2", &statements.map(String::as_str)).trim(), "2\t3");
        assert!(world.shell("hiveserver2", &["show tables"]).contains("first"));
    });
    stands_in(&world, "yarn", |world, _| {
        assert!(world.shell("yarn", &["application", "-list"]).contains("Total number of applications"));
        let port = world.cluster.ports("yarn").expect("ports")["web"];
        let url = format!("http://127.0.0.1:{port}/ws/v1/cluster/nodes");
        assert!(output(std::process::Command::new("curl").args(["-sf", &url])).contains("RUNNING"));
    });
    world.down();
}

/// Hive's own library makes a database and lists all.
fn databases(world: &World, word: &str) {
    let file = world.folder.path().join("Client.java");
    let text =
        "import org.apache.hadoop.hive.conf.HiveConf; import org.apache.hadoop.hive.metastore.*; import org.apache.hadoop.hive.metastore.api.*;
public class Client { public static void main(String[] a) throws Exception {
  var conf = org.apache.hadoop.hive.metastore.conf.MetastoreConf.newMetastoreConf();
  org.apache.hadoop.hive.metastore.conf.MetastoreConf.setVar(conf, org.apache.hadoop.hive.metastore.conf.MetastoreConf.ConfVars.THRIFT_URIS, a[0]);
  var client = new HiveMetaStoreClient(conf);
  client.createDatabase(new Database(a[1] + \"_db\", \"\", null, null));
  System.out.println(\"databases: \" + client.getAllDatabases());
} }";
    std::fs::write(&file, text.replace("import org.apache.hadoop.hive.conf.HiveConf; ", "")).expect("a file");
    let jars = world.package("hive");
    let mut command = std::process::Command::new("java");
    command.args(["-cp", &format!("{}/*", jars.display())]).arg(&file).args([&world.export("HIVE_METASTORE_URIS"), word]);
    let said = output(&mut command);
    assert!(said.contains("default") && said.contains("first_db"), "{said}");
}

#[test]
fn a_pair_of_namenodes_loses_its_active_one_and_goes_on() {
    let world = World::new();
    world.up(&["hdfs:ha"]);
    world.shell("hdfs", &["-mkdir", "/kept"]);
    world.fault("hdfs/nn1", "kill");
    assert_eq!(world.state("hdfs"), ServiceState::Half);
    world.up(&["hdfs:ha"]);
    assert!(world.shell("hdfs", &["-ls", "/"]).contains("/kept"));
    // Who knows the pair by its name goes to the one that is active.
    world.up(&["metastore"]);
    databases(&world, "first");
    world.down();
}

#[test]
fn three_masters_lose_one_and_go_on() {
    let world = World::new();
    world.up(&["kudu:3"]);
    world.fault("kudu/master-1", "kill");
    world.shell("kudu", &["table", "list"]);
    world.up(&["kudu:3"]);
    world.shell("kudu", &["cluster", "ksck"]);
    world.down();
}
