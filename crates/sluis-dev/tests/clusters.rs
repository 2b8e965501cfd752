//! Clusters as such: what is half done is repaired, nothing is left behind, and what goes wrong is said.
//!
//! With S3 (no Java), because these are facts of the machinery and not of a service.

mod world;

use std::net::TcpListener;

use sluis_core::ErrorKind;
use sluis_dev::{Cluster, Home, ServiceState, Silent, Up};
use world::World;

#[test]
fn a_second_up_starts_nothing() {
    let world = World::new();
    world.up(&["s3"]);
    let before = world.cluster.pids();
    world.up(&["s3"]);
    assert_eq!(world.cluster.pids(), before);
    world.down();
}

#[test]
fn what_is_written_down_may_be_lost_and_down_still_ends_everything() {
    let world = World::new();
    world.up(&["s3"]);
    std::fs::remove_file(world.cluster.folder().join("state.json")).expect("a state");
    std::fs::remove_dir_all(world.cluster.folder().join("run")).expect("numbers of processes");
    assert!(!world.cluster.pids().is_empty());
    world.cluster.down(&Silent).expect("a down");
    assert_eq!(world.cluster.pids(), Vec::<u32>::new());
}

#[test]
fn up_after_the_state_was_lost_ends_the_old_processes_first() {
    let world = World::new();
    world.up(&["s3"]);
    let before = world.cluster.pids();
    std::fs::remove_file(world.cluster.folder().join("state.json")).expect("a state");
    world.up(&["s3"]);
    let after = world.cluster.pids();
    assert!(!after.is_empty() && after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
    world.down();
}

#[test]
fn a_damaged_state_is_said_and_fresh_helps() {
    let world = World::new();
    world.up(&["s3"]);
    std::fs::write(world.cluster.folder().join("state.json"), "{").expect("a state");
    let error = world.cluster.up(&Up::default(), &Silent).expect_err("an error");
    assert!(error.hint_text().is_some_and(|h| h.contains("--fresh")), "{error}");
    let up = Up { services: vec!["s3".into()], fresh: true, ..Up::default() };
    assert!(world.cluster.up(&up, &Silent).expect("an up").failed.is_empty());
    world.down();
}

#[test]
fn a_taken_port_is_said_with_its_holder() {
    let world = World::new();
    world.up(&["s3"]);
    world.cluster.down(&Silent).expect("a down");
    let port = world.cluster.ports("s3").expect("ports")["s3"];
    let held = TcpListener::bind(("127.0.0.1", port)).expect("the port");
    let brought = world.cluster.up(&Up::default(), &Silent).expect("an answer");
    let (_, error) = &brought.failed[0];
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.message().contains(&port.to_string()) && error.message().contains(&std::process::id().to_string()), "{error}");
    drop(held);
    world.up(&["s3"]);
    world.down();
}

#[test]
fn a_service_that_dies_at_start_is_noticed_at_once_with_its_last_words() {
    let world = World::new();
    world.up(&["s3"]);
    world.cluster.down(&Silent).expect("a down");
    // It finds a file where its folder was.
    let data = world.cluster.folder().join("s3/data");
    std::fs::remove_dir_all(&data).expect("data");
    std::fs::write(&data, "").expect("a file");
    // `up` makes the folder; a file in its place is an error of ours, said before anything starts.
    let brought = world.cluster.up(&Up::default(), &Silent).expect("an answer");
    assert_eq!(brought.failed.len(), 1);
    std::fs::remove_file(&data).expect("the file");
    // Something that MinIO itself cannot stand: a format it does not know.
    std::fs::create_dir_all(data.join(".minio.sys")).expect("a folder");
    std::fs::write(data.join(".minio.sys/format.json"), "{\"version\":\"9\",\"format\":\"other\"}").expect("a file");
    let begun = std::time::Instant::now();
    let brought = world.cluster.up(&Up::default(), &Silent).expect("an answer");
    let (_, error) = &brought.failed[0];
    assert!(error.message().contains("died before it was ready"), "{error}");
    assert!(error.causes().join("\n").contains("its last words"), "{error:?}");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    world.down();
}

#[test]
fn two_clusters_stand_side_by_side_with_ports_of_their_own() {
    let (one, two) = (World::new(), World::new());
    one.up(&["s3"]);
    two.up(&["s3"]);
    assert_ne!(one.cluster.ports("s3").expect("ports"), two.cluster.ports("s3").expect("ports"));
    one.cluster.down(&Silent).expect("a down");
    assert_eq!(two.state("s3"), ServiceState::Ready);
    two.down();
}

#[test]
fn slow_is_felt_and_resume_ends_it() {
    let world = World::new();
    world.up(&["s3"]);
    world.fault("s3", "slow");
    world.until("s3", ServiceState::Paused);
    world.fault("s3", "resume");
    world.until("s3", ServiceState::Ready);
    world.down();
}

#[test]
fn reset_leaves_nothing_but_the_packages() {
    let world = World::new();
    world.up(&["s3"]);
    world.cluster.reset(&Silent).expect("a reset");
    assert!(world.cluster.pids().is_empty() && !world.cluster.folder().exists());
}

#[test]
fn what_is_asked_wrongly_is_said_with_what_there_is() {
    let world = World::new();
    let up = |service: &str| world.cluster.up(&Up { services: vec![service.into()], ..Up::default() }, &Silent).expect_err("an error");
    let error = up("hbase");
    assert!(error.kind() == ErrorKind::Config && error.hint_text().is_some_and(|h| h.contains("kafka")), "{error}");
    let error = up("kafka:2");
    assert!(error.kind() == ErrorKind::Config && error.hint_text().is_some_and(|h| h.contains("kafka:1, kafka:3")), "{error}");
    let home = Home::of_user().expect("a home");
    assert!(Cluster::named(&home, "../x").is_err());
    let none = Cluster::named(&home, "was-never-made").expect("a name").status().expect_err("an error");
    assert_eq!(none.kind(), ErrorKind::NotFound);
}

#[test]
fn services_of_a_test_run_are_started_once_and_give_every_test_a_name_of_its_own() {
    let one = sluis_testkit::services::service("s3");
    let pids = one.cluster().pids();
    // As another test program does it.
    let brought = one.cluster().up(&Up { services: vec!["s3".into()], ..Up::default() }, &Silent).expect("an up");
    assert!(brought.failed.is_empty());
    let again = sluis_testkit::services::service("s3");
    assert_eq!(again.cluster().pids(), pids);
    assert_ne!(one.namespace("bucket"), again.namespace("bucket"));
    assert!(one.export("AWS_ENDPOINT_URL").starts_with("http://localhost:"));
}

#[test]
#[should_panic(expected = "`cargo xtask services` fetches")]
fn a_test_that_cannot_get_its_service_fails_and_says_how_to_get_it() {
    sluis_testkit::services::service("hbase");
}
