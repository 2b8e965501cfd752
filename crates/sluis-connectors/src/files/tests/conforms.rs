//! The source against the suite that every source of files must pass, on every storage.

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::json;
use sluis_storage::{IfExists, StorageRef};
use sluis_testkit::conformance::source::{self as suite, Place as Suite};

use super::*;

/// A place with its configuration.
struct Files {
    storage: StorageRef,
    url: String,
    config: Value,
    connections: Arc<Map<String, Value>>,
    dir: tempfile::TempDir,
}

#[async_trait]
impl Suite for Files {
    fn open(&self) -> Arc<dyn Source> {
        let mut config = self.config.clone();
        config["url"] = json!(self.url);
        let clock = TestClock::at(NOW);
        let context = BuildContext { connections: self.connections.clone(), ..context(self.dir.path(), clock) };
        Arc::new(FilesSource::build(&context, &config).unwrap())
    }
    async fn put(&self, name: &str, bytes: &[u8]) {
        self.storage.put(name, bytes.to_vec().into(), IfExists::Replace).await.unwrap();
    }
    async fn delete(&self, name: &str) {
        self.storage.delete(name).await.unwrap();
    }
    async fn names(&self) -> Vec<String> {
        self.storage.list("", None).map(|e| e.unwrap().path).collect().await
    }
}

fn config(removes: bool, archive: &str) -> Value {
    let mut config = json!({ "on_overwrite": "append" });
    match archive {
        _ if !removes => {}
        "" => config["after_commit"] = json!("delete"),
        folder => config["after_commit"] = json!({ "archive": folder }),
    }
    config
}

#[tokio::test]
async fn a_folder_conforms() {
    for archive in ["", "done/"] {
        suite::all(&|removes| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("in")).unwrap();
            let storage = Arc::new(sluis_storage::local::LocalStorage::new(dir.path().join("in")).unwrap());
            Box::new(Files { storage, url: "in/".into(), config: config(removes, archive), connections: Arc::default(), dir })
        })
        .await;
    }
}

#[tokio::test]
async fn s3_conforms() {
    let minio = sluis_testkit::services::MinIo::shared();
    let connections: Arc<Map<String, Value>> = Arc::new(Map::from_iter([("here".to_owned(), minio.connection())]));
    for archive in ["", "out"] {
        suite::all(&|removes| {
            let bucket = minio.bucket("source");
            let url = format!("s3://{bucket}/in/");
            let storage = sluis_storage::url::open_folder(&url, &connections, Some("here"), Path::new("/")).unwrap();
            let archive = if archive.is_empty() { String::new() } else { format!("s3://{bucket}/{archive}/") };
            let mut config = config(removes, &archive);
            config["connection"] = json!("here");
            Box::new(Files { storage, url, config, connections: connections.clone(), dir: tempfile::tempdir().unwrap() })
        })
        .await;
    }
}
