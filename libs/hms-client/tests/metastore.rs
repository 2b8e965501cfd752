//! Against a real metastore; what this client makes, Hive's own JDBC driver sees through HiveServer2, and the reverse.

use std::time::Duration;

use hms_client::{
    Bounds, Client, Column, ColumnStatistics, Database, Insert, Kind, LockKind, LockOn, LockState, Partition, StatisticsOf, Storage, Table, Values,
};
use sluis_testkit::services::{Running, service};

struct World {
    metastore: Running,
    client: Client,
    database: String,
    folder: String,
}

impl World {
    /// A database of its own.
    async fn new(hint: &str) -> World {
        let metastore = service("metastore");
        let client = Client::builder(metastore.export("HIVE_METASTORE_URIS")).unwrap().build();
        let database = metastore.namespace(hint).replace('-', "_");
        let folder = format!("{}/test/{database}", metastore.export("HDFS"));
        let about = Some("of a test".to_owned());
        client
            .create_database(&Database { name: database.clone(), description: about, location: Some(format!("{folder}/db")), ..Database::default() })
            .await
            .unwrap();
        World { metastore, client, database, folder }
    }

    fn table(&self, name: &str) -> Table {
        let columns = vec![
            Column { comment: Some("the ünit".into()), ..Column::new("id", "bigint") },
            Column::new("Amount", "decimal(12,2)"),
            Column::new("deep", "struct<a:array<int>,b:map<string,date>>"),
        ];
        let keys = vec![Column::new("day", "string"), Column::new("hour", "int")];
        Table::external_parquet(&self.database, name, columns, keys, &format!("{}/{name}", self.folder))
    }

    fn partitions(&self, table: &Table, hours: std::ops::Range<u32>) -> Vec<Partition> {
        let one = |hour: u32| {
            let values = ["2026-01-31", &hour.to_string()];
            table.partition(&values, &format!("{}/{}/{}", self.folder, table.name, table.partition_name(&values)))
        };
        hours.map(one).collect()
    }

    /// What Hive says to a statement.
    fn hive(&self, statement: &str) -> String {
        service("hiveserver2").shell(&[statement])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_come_and_go() {
    let w = World::new("databases").await;
    assert!(w.client.databases().await.unwrap().contains(&w.database));
    let mut found = w.client.database(&w.database).await.unwrap();
    assert_eq!(found.description.as_deref(), Some("of a test"));
    let error = w.client.create_database(&found).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    // Who is named is whom HDFS asks about: this one may not make a folder there.
    let stranger = Client::builder(w.metastore.export("HIVE_METASTORE_URIS")).unwrap().user("stranger", &["nobody"]).build();
    let other =
        Database { name: format!("{}_b", w.database), location: Some(format!("{}/no/db", w.metastore.export("HDFS"))), ..Database::default() };
    assert_eq!(stranger.create_database(&other).await.unwrap_err().kind(), Kind::Meta);
    w.client.create_database(&other).await.unwrap();
    found.parameters.insert("owner_team".into(), "lake".into());
    w.client.alter_database(&found).await.unwrap();
    assert_eq!(w.client.database(&w.database).await.unwrap().parameters["owner_team"], "lake");
    w.client.create_table(&w.table("a")).await.unwrap();
    assert_eq!(w.client.drop_database(&w.database, false, false).await.unwrap_err().kind(), Kind::InvalidOperation);
    w.client.drop_database(&w.database, false, true).await.unwrap();
    let error = w.client.database(&w.database).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoSuchObject);
    assert!(error.to_string().starts_with("get_database at ") && error.to_string().contains(&w.database), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hive_sees_our_tables_and_partitions() {
    let w = World::new("ours").await;
    let table = w.table("rides");
    w.client.create_table(&table).await.unwrap();
    assert_eq!(w.client.create_table(&table).await.unwrap_err().kind(), Kind::AlreadyExists);
    let partitions = w.partitions(&table, 0..30);
    w.client.add_partitions(&w.database, "rides", &partitions[..20], false).await.unwrap();
    // Ten of these are there.
    let error = w.client.add_partitions(&w.database, "rides", &partitions[10..], false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    assert_eq!(w.client.partition_names(&w.database, "rides").await.unwrap().len(), 20, "all or none");
    w.client.add_partitions(&w.database, "rides", &partitions[10..], true).await.unwrap();

    let columns = w.hive(&format!("DESCRIBE {}.rides", w.database));
    for row in ["id\tbigint\tthe ünit", "amount\tdecimal(12,2)\t", "deep\tstruct<a:array<int>,b:map<string,date>>\t", "day\tstring\t", "hour\tint\t"]
    {
        assert!(columns.contains(row), "{row:?} in {columns}");
    }
    let mut theirs: Vec<String> = w.hive(&format!("SHOW PARTITIONS {}.rides", w.database)).lines().map(str::to_owned).collect();
    let mut ours = w.client.partition_names(&w.database, "rides").await.unwrap();
    theirs.sort();
    ours.sort();
    assert_eq!(theirs, ours);
    assert_eq!(ours.len(), 30);
    assert!(ours.contains(&"day=2026-01-31/hour=7".to_owned()), "{ours:?}");
    // It reads them: no file is there yet.
    assert_eq!(w.hive(&format!("SELECT count(*) FROM {}.rides", w.database)).trim(), "0");

    let names = ["day=2026-01-31/hour=3", "day=2026-01-31/hour=4", "day=2026-01-31/hour=99"];
    let mut some = w.client.partitions_by_names(&w.database, "rides", &names).await.unwrap();
    some.sort_by(|a, b| a.values.cmp(&b.values));
    assert_eq!(some.iter().map(|p| p.values[1].as_str()).collect::<Vec<_>>(), ["3", "4"]);
    for partition in &mut some {
        let storage = partition.storage.as_mut().unwrap();
        storage.location = storage.location.take().map(|l| l + "-v2");
        partition.parameters.insert("loaded_by".into(), "us".into());
    }
    w.client.alter_partitions(&w.database, "rides", &some, &[("DO_NOT_UPDATE_STATS", "true")]).await.unwrap();
    let shown = w.hive(&format!("DESCRIBE FORMATTED {}.rides PARTITION (day='2026-01-31', hour=4)", w.database));
    assert!(shown.contains("hour=4-v2") && shown.contains("loaded_by"), "{shown}");

    let found = w.client.partitions_by_filter(&w.database, "rides", r#"day = "2026-01-31" and hour >= 28"#).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(w.client.partitions_by_filter(&w.database, "rides", "day = ").await.unwrap_err().kind(), Kind::Meta);
    w.client.drop_partitions(&w.database, "rides", &names, false).await.unwrap();
    assert_eq!(w.client.partition_names(&w.database, "rides").await.unwrap().len(), 28);
    assert_eq!(w.hive(&format!("SHOW PARTITIONS {}.rides", w.database)).lines().count(), 28);
    w.client.drop_table(&w.database, "rides", false, &[]).await.unwrap();
    assert_eq!(w.client.drop_table(&w.database, "rides", false, &[]).await.unwrap_err().kind(), Kind::NoSuchObject);
    assert!(w.client.tables(&w.database).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn we_see_hives_tables_and_lose_nothing_of_them() {
    let w = World::new("theirs").await;
    let name = format!("{}.log", w.database);
    w.hive(&format!(
        "CREATE EXTERNAL TABLE {name} (a INT COMMENT 'first', b VARCHAR(7)) PARTITIONED BY (d DATE) CLUSTERED BY (a) SORTED BY (b) INTO 4 BUCKETS \
         ROW FORMAT DELIMITED FIELDS TERMINATED BY '|' STORED AS TEXTFILE LOCATION '{}/log' TBLPROPERTIES ('skip.header.line.count'='1')",
        w.folder
    ));
    w.hive(&format!("ALTER TABLE {name} ADD PARTITION (d='2026-01-31')"));
    let before = w.hive(&format!("SHOW CREATE TABLE {name}"));
    let mut table = w.client.table(&w.database, "log").await.unwrap();
    assert_eq!(table.kind.as_deref(), Some("EXTERNAL_TABLE"));
    assert_eq!(table.partition_keys, [Column { rest: table.partition_keys[0].rest.clone(), ..Column::new("d", "date") }]);
    let storage: &Storage = table.storage.as_ref().unwrap();
    assert_eq!((storage.buckets, &storage.bucket_columns[..]), (4, &["a".to_owned()][..]));
    assert_eq!(storage.sort_columns[0].column, "b");
    assert_eq!(storage.serde.as_ref().unwrap().parameters["field.delim"], "|");
    assert_eq!(storage.columns[0].comment.as_deref(), Some("first"));
    assert_eq!(table.parameters["skip.header.line.count"], "1");
    // This version has fields that are not declared here.
    assert!(!table.rest.0.is_empty(), "{table:?}");
    let rest = table.rest.clone();

    table.parameters.insert("loaded_by".into(), "us".into());
    table.storage.as_mut().unwrap().columns.push(Column::new("c", "double"));
    w.client.alter_table(&w.database, "log", &table, &[("CASCADE", "true")]).await.unwrap();
    let again = w.client.table(&w.database, "log").await.unwrap();
    assert_eq!(again.rest, rest);
    let after = w.hive(&format!("SHOW CREATE TABLE {name}"));
    let ours =
        |line: &&str| !line.contains("loaded_by") && !line.contains("`c` double") && !line.contains("last_modified") && !line.contains("DdlTime");
    let bare = |text: &str| text.lines().filter(ours).map(|l| l.trim().trim_end_matches([',', ')', ' ']).to_owned()).collect::<Vec<_>>();
    assert_eq!(bare(&before), bare(&after));
    assert!(after.contains("`c` double") && after.contains("'loaded_by'='us'"), "{after}");
    // CASCADE reached the partition.
    let partition = &w.client.partitions_by_names(&w.database, "log", &["d=2026-01-31"]).await.unwrap()[0];
    assert_eq!(partition.storage.as_ref().unwrap().columns.len(), 3);
    let gone = w.client.table(&w.database, "nothing").await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NoSuchObject, "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_keeps_others_out_until_it_is_released() {
    let w = World::new("locks").await;
    w.client.create_table(&w.table("a")).await.unwrap();
    let exclusive = [LockOn::table(LockKind::Exclusive, &w.database, "a")];
    let (patience, beat) = (Duration::from_secs(30), Duration::from_millis(50));
    let lock = w.client.acquire(&exclusive, "loader", "here", "test", patience, beat).await.unwrap();
    let (other, state) = w.client.lock(&exclusive, "loader", "here", "test").await.unwrap();
    assert_eq!(state, LockState::Waiting);
    w.client.heartbeat(other).await.unwrap();
    assert_eq!(w.client.check_lock(other).await.unwrap(), LockState::Waiting);
    w.client.unlock(other).await.unwrap();
    let short = Duration::from_millis(1);
    let error = w.client.acquire(&exclusive, "loader", "here", "test", short, beat).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(error.to_string().contains(&format!("{}.a", w.database)), "{error}");
    lock.still_held().unwrap();
    // Whoever waits gets it when it is given back.
    let (client, wanted) = (w.client.clone(), exclusive.clone());
    let waits = tokio::spawn(async move { client.acquire(&wanted, "loader", "here", "test", patience, beat).await });
    lock.release().await.unwrap();
    let lock = waits.await.unwrap().unwrap();
    // Somebody takes it away: the heartbeats notice.
    w.client.unlock(lock.id()).await.unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while lock.still_held().is_ok() {
        assert!(tokio::time::Instant::now() < end, "nobody noticed");
        tokio::time::sleep(Duration::from_millis(20)).await; // polls
    }
    assert_eq!(lock.still_held().unwrap_err().kind(), Kind::NoSuchLock);
    assert_eq!(w.client.heartbeat(lock.id()).await.unwrap_err().kind(), Kind::NoSuchLock);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_hives() {
    let w = World::new("statistics").await;
    let table = w.table("a");
    w.client.create_table(&table).await.unwrap();
    w.client.add_partitions(&w.database, "a", &w.partitions(&table, 0..2), false).await.unwrap();
    let known = vec![
        ColumnStatistics {
            column: "id".into(),
            kind: "bigint".into(),
            nulls: 3,
            values: Values::Long(Bounds { low: Some(-7), high: Some(4_000_000_000), distinct: 55 }),
        },
        ColumnStatistics {
            column: "amount".into(),
            kind: "decimal(12,2)".into(),
            nulls: 0,
            values: Values::Decimal(Bounds { low: Some((-12_345, 2)), high: Some((99_999, 2)), distinct: 12 }),
        },
    ];
    let name = "day=2026-01-31/hour=1".to_owned();
    let of = StatisticsOf { partition: Some(name.clone()), columns: known.clone() };
    w.client.set_statistics(&w.database, "a", &[of]).await.unwrap();
    let found = w.client.partition_statistics(&w.database, "a", &["id", "amount", "deep"], &[&name]).await.unwrap();
    let mut found = found[&name].clone();
    found.sort_by(|a, b| b.column.cmp(&a.column));
    assert_eq!(found[0], known[0]);
    assert_eq!((found[1].nulls, &found[1].column[..]), (0, "amount"));
    let Values::Decimal(bounds) = &found[1].values else { panic!("{found:?}") };
    assert_eq!((bounds.low, bounds.distinct), (Some((-12_345, 2)), 12));
    let shown = w.hive(&format!("DESCRIBE FORMATTED {}.a PARTITION (day='2026-01-31', hour=1) id", w.database));
    assert!(shown.contains("4000000000") && shown.contains("55"), "{shown}");
    assert!(w.client.table_statistics(&w.database, "a", &["id"]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_are_told() {
    let w = World::new("events").await;
    let table = w.table("a");
    w.client.create_table(&table).await.unwrap();
    w.client.add_partitions(&w.database, "a", &w.partitions(&table, 0..1), false).await.unwrap();
    let files = vec![format!("{}/a/day=2026-01-31/hour=0/f.parquet", w.folder)];
    let insert = Insert { database: w.database.clone(), table: "a".into(), partition: vec!["2026-01-31".into(), "0".into()], replace: true, files };
    w.client.fire_insert(&insert).await.unwrap();
    // 4.0.1 has no listener that writes events down (its jar is published nowhere).
    assert_eq!(w.client.current_event().await.unwrap(), 0);
    assert!(w.client.events_after(0, 10).await.unwrap().is_empty());
    let unknown = Insert { table: "nothing".into(), ..insert };
    w.client.fire_insert(&unknown).await.unwrap_err();
    drop(w.metastore);
}
