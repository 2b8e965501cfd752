//! Creating, recognising and refusing ledger files; the tables.
//!
//! Guarantees: a ledger comes to its place whole or not at all (it is made beside it and linked in), so an empty or half-made file is never
//! taken for a fresh one. What is not a ledger, or is one of a newer version, is refused and left as it is.
//!
//! The tables: `record` is the truth, rows of it are never changed. The columns of `lane` after `name`, `file` and `earlier` follow from it
//! and are kept in the same transactions, so that no question needs all records; `fsck` compares them.
//! - `file` has one row per known path: the newest version taken of it. `dir` is cut off (up to and with the last `/`): listings ask for one
//!   folder after the other, and find their rows side by side.
//! - `earlier` tells in which epochs older versions of a path were taken (`why`).
//! - A file's fate follows from its lane's head and `rewind`; only exceptions stand in `file.flags`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sluis_core::{Error, ErrorKind, Result};

use super::failure::{WAY_OUT, damaged, sql};

/// Marks a file as a ledger in SQLite's header: `slui`.
pub const APPLICATION_ID: i32 = 0x736c_7569;
/// Version of the tables. A change of the tables raises it and adds a step to the opening of older files.
pub const VERSION: i32 = 1;

/// How long a call waits for other processes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Up to this size a ledger is checked page by page when it is opened for writing: some milliseconds.
const CHECKED_WHOLE: u64 = 2 << 20;

const TABLES: &str = "
create table pipeline (
    id integer primary key,
    name text not null unique,
    schema integer                          -- the newest one decoded: schema.id
) strict;

create table lane (
    id integer primary key,
    pipeline integer not null references pipeline(id),
    name text not null,
    generation integer not null default 0,
    holder text,                            -- JSON of LeaseHolder; null: free
    granted any,                            -- the clock when the lease was last given or prolonged
    until any,
    planned integer not null default 0,     -- epochs; planned >= staged >= committed >= planned - 1
    staged integer not null default 0,
    committed integer not null default 0,
    committed_at any,
    reached text not null default '{}',     -- checkpoint of the last committed epoch
    reaching text,                          -- checkpoint of the staged epoch that is not committed
    files integer not null default 0,       -- totals of all committed epochs
    bytes integer not null default 0,
    rows_read integer not null default 0,
    rows_written integer not null default 0,
    rows_rejected integer not null default 0,
    rows_filtered integer not null default 0,
    rows_added integer not null default 0,
    unique (pipeline, name)
) strict;

create table record (
    id integer primary key,
    lane integer not null references lane(id),
    epoch integer not null,
    kind integer not null,                  -- 1 planned, 2 staged, 3 committed
    generation integer not null,
    at any not null,                        -- nanoseconds since 1970
    files integer not null default 0,       -- planned: to be read; staged: landed
    bytes integer not null default 0,
    rows_read integer not null default 0,
    rows_written integer not null default 0,
    rows_rejected integer not null default 0,
    rows_filtered integer not null default 0,
    rows_added integer not null default 0,
    schema integer,                         -- staged: schema.id, taken out of the body
    body blob not null,                     -- JSON of the record, zstd with checksum
    unique (lane, epoch, kind)
) strict;

create table schema (
    id integer primary key,
    pipeline integer not null references pipeline(id),
    body blob not null
) strict;

create table dir (
    id integer primary key,
    pipeline integer not null references pipeline(id),
    path text not null,
    unique (pipeline, path)
) strict;

create table file (
    dir integer not null,
    name text not null,
    lane integer not null,
    epoch integer not null,
    flags integer not null,                 -- 1 changed before it was read, 2 corrupt, 4 an earlier version landed
    size integer not null,
    modified any,                           -- nanoseconds since 1970
    etag any,                               -- text; 16 bytes: 32 lower-case hexadecimal digits
    primary key (dir, name)
) strict, without rowid;

create table earlier (
    dir integer not null,
    name text not null,
    n integer not null,                     -- 1 is the oldest version
    lane integer not null,
    epoch integer not null,
    primary key (dir, name, n)
) strict, without rowid;

create table rewind (
    id integer primary key,
    lane integer not null references lane(id),
    after integer not null,                 -- epochs after this one ...
    through integer not null,               -- ... up to this one count as not read
    at any not null
) strict;
";

/// Device and inode.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// Opens `path` for reading and writing; creates it if nothing is there.
pub fn for_writing(path: &Path) -> Result<Connection> {
    let name = path.display().to_string();
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|e| Error::io("create the ledger's folder", folder.display(), e))?;
    }
    if !recognise(path)? {
        create(path)?;
    }
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|e| sql(e, &name))?;
    settle(&connection, &name)?;
    let mode: String = connection.query_row("pragma journal_mode = wal", [], |r| r.get(0)).map_err(|e| sql(e, &name))?;
    if mode != "wal" {
        return Err(Error::new(ErrorKind::Ledger, format!("the ledger's disk cannot hold a write-ahead log (journal mode `{mode}`)"))
            .context("ledger", name)
            .hint("keep the ledger on a local disk of this machine"));
    }
    // Durable when a call returns, also through a power cut.
    connection.pragma_update(None, "synchronous", "full").map_err(|e| sql(e, &name))?;
    connection.query_row("pragma journal_size_limit = 67108864", [], |_| Ok(())).map_err(|e| sql(e, &name))?;
    if fs::metadata(path).is_ok_and(|m| m.len() <= CHECKED_WHOLE) {
        let found: String = connection.query_row("pragma quick_check(1)", [], |r| r.get(0)).map_err(|e| sql(e, &name))?;
        if found != "ok" {
            return Err(damaged(&name, found));
        }
    }
    Ok(connection)
}

/// Opens `path` for looking; `None` if nothing is there. Works in folders that cannot be written, too.
pub fn for_looking(path: &Path) -> Result<Option<Connection>> {
    if !recognise(path)? {
        return Ok(None);
    }
    let name = path.display().to_string();
    // A connection that may write cleans up its shared-memory file when it closes; one that may not leaves it behind.
    let writing = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|e| sql(e, &name))
        .and_then(|c| settle(&c, &name).map(|()| c));
    let connection = match writing {
        Err(e) if e.kind() == ErrorKind::Permission => read_only(path, &name)?,
        other => other?,
    };
    connection.pragma_update(None, "query_only", true).map_err(|e| sql(e, &name))?;
    Ok(Some(connection))
}

fn read_only(path: &Path, name: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let shared = Connection::open_with_flags(path, flags).map_err(|e| sql(e, name)).and_then(|c| settle(&c, name).map(|()| c));
    match shared {
        // Nobody has it open and we may not create the shared-memory file: all there is stands in the file itself.
        Err(e) if e.kind() == ErrorKind::Permission && fs::metadata(beside(path, "-wal")).map_or(true, |m| m.len() == 0) => {
            let escaped: String = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{escaped}?immutable=1");
            let connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(|e| sql(e, name))?;
            settle(&connection, name)?;
            Ok(connection)
        }
        other => other,
    }
}

/// A new ledger in memory.
pub fn in_memory() -> Result<Connection> {
    let connection = Connection::open_in_memory().map_err(|e| sql(e, ":memory:"))?;
    fill(&connection).map_err(|e| sql(e, ":memory:"))?;
    settle(&connection, ":memory:")?;
    Ok(connection)
}

/// Settings of every connection; and its first look at the file: the version.
fn settle(connection: &Connection, name: &str) -> Result<()> {
    let set = || -> rusqlite::Result<(i32, i32, i64)> {
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        // The page cache, in KiB: what bounds memory however large the file is.
        connection.pragma_update(None, "cache_size", -16384)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        let pragma = |p: &str| connection.query_row(&format!("pragma {p}"), [], |r| r.get(0));
        let tables = connection.query_row("select count(*) from sqlite_schema", [], |r| r.get(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, tables))
    };
    let (application, version, tables) = set().map_err(|e| sql(e, name))?;
    if application != APPLICATION_ID || tables == 0 {
        return Err(Error::new(ErrorKind::Ledger, "this is an SQLite database, but not a ledger of sluis; it is left as it is")
            .context("ledger", name)
            .hint("give the ledger another path, or move that file away"));
    }
    if version > VERSION {
        return Err(Error::new(
            ErrorKind::Ledger,
            format!("the ledger was written by a newer sluis (its version is {version}, this program knows up to {VERSION}); it is left as it is"),
        )
        .context("ledger", name)
        .hint("use the newer sluis, or a copy of the ledger from before"));
    }
    if version < 1 {
        return Err(damaged(name, format!("its version is {version}, which never was")));
    }
    Ok(())
}

/// Whether something is at `path` that looks like an SQLite file; `false`: nothing is there.
fn recognise(path: &Path) -> Result<bool> {
    let name = path.display().to_string();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let wal = beside(path, "-wal");
            if fs::metadata(&wal).is_ok_and(|m| m.len() > 0) {
                return Err(damaged(&name, format!("it is gone, but its write-ahead log {} is there", wal.display())));
            }
            return Ok(false);
        }
        Err(e) => return Err(Error::io("open the ledger", &name, e)),
    };
    let meta = file.metadata().map_err(|e| Error::io("look at the ledger", &name, e))?;
    if meta.is_dir() {
        return Err(Error::new(ErrorKind::Ledger, "there is a folder where the ledger should be")
            .context("ledger", name)
            .hint("give the ledger another path"));
    }
    let mut head = Vec::with_capacity(16);
    file.by_ref().take(16).read_to_end(&mut head).map_err(|e| Error::io("read the ledger", &name, e))?;
    let why = match head.len() {
        0 => "the file is empty (a ledger never is)",
        _ if head.starts_with(b"SQLite format 3\0") => return Ok(true),
        16 => "the file is not an SQLite database (any more)",
        _ => "the file is cut off",
    };
    Err(Error::new(ErrorKind::Ledger, format!("the ledger is damaged: {why}")).context("ledger", name).hint(WAY_OUT))
}

/// Makes an empty ledger at `path`, whole or not at all; of several processes that do, one's becomes it.
fn create(path: &Path) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.display().to_string();
    let new = beside(path, &format!(".new-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    // SQLite says only that it cannot open; the system says why.
    File::create(&new).map_err(|e| Error::io("create the ledger", &name, e))?;
    let make = || -> Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&new, flags).map_err(|e| sql(e, &name))?;
        fill(&connection).map_err(|e| sql(e, &name))?;
        connection.close().map_err(|(_, e)| sql(e, &name))?;
        match fs::hard_link(&new, path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            // No links on this file system: the place was free a moment ago.
            Err(_) => fs::rename(&new, path).map_err(|e| Error::io("create the ledger", &name, e))?,
        }
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("create the ledger", &name, e))
    };
    let made = make();
    for leftover in [new.clone(), beside(&new, "-wal"), beside(&new, "-shm"), beside(&new, "-journal")] {
        let _ = fs::remove_file(leftover);
    }
    made
}

/// The tables of an empty database.
fn fill(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(&format!("begin immediate; {TABLES} pragma user_version = {VERSION}; commit;"))?;
    // Kept in the file; of no meaning in memory.
    connection.query_row("pragma journal_mode = wal", [], |_| Ok(()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
