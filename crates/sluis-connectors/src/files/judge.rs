//! New, known or overwritten: the pure decision about one file version.

use sluis_core::{FileVersion, KnownFile};

use super::config::OnOverwrite;
use super::content::Hash;

/// What starts the etag of a version that counts as landed without having been read (`start: new`); its tag follows.
const PASSED_OVER: &str = "passed-over:";

/// What is to be done with a file that a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This version has landed.
    Known,
    /// Size and content hash have to be compared: the version that landed may be the same content under a new time.
    Compare,
    /// Land it; `replaces`: rows of an older version leave.
    Take { replaces: bool },
    /// A new version that is passed over (`ignore`).
    Ignore,
    /// A new version that must not be there (`fail`).
    Conflict,
}

/// Decides by the newest version the ledger knows of the path. `backfill`: what the first run of `start: new` passed over is taken, too.
pub fn judge(known: Option<&KnownFile>, now: &FileVersion, policy: OnOverwrite, backfill: bool) -> Verdict {
    let Some(known) = known else { return Verdict::Take { replaces: false } };
    if known.again {
        return Verdict::Take { replaces: policy == OnOverwrite::Replace && known.landed_before };
    }
    let damaged = known.corrupt && !known.landed_before;
    let no_rows = known.landed && (known.version.size == 0 || passed_over(&known.version) || damaged);
    if known.landed && !(backfill && passed_over(&known.version)) {
        if same(&known.version, now) {
            return Verdict::Known;
        }
        if hash(&known.version).is_some() && known.version.size == now.size {
            return Verdict::Compare;
        }
    }
    if no_rows {
        // An upload that had only begun, a version that was never read, or a damaged one: no rows landed, so what comes now overwrites nothing.
        return Verdict::Take { replaces: policy == OnOverwrite::Replace };
    }
    if known.landed || known.landed_before {
        return overwritten(policy);
    }
    // Planned once, but changed before it was read: nothing of this path ever landed.
    Verdict::Take { replaces: false }
}

/// What the policy says of a new version of a file that landed.
pub fn overwritten(policy: OnOverwrite) -> Verdict {
    match policy {
        OnOverwrite::Ignore => Verdict::Ignore,
        OnOverwrite::Replace => Verdict::Take { replaces: true },
        OnOverwrite::Append => Verdict::Take { replaces: false },
        OnOverwrite::Fail => Verdict::Conflict,
    }
}

/// Whether a storage shows the version that is kept: by etag where both have one, else by size and modification time.
pub fn same(kept: &FileVersion, now: &FileVersion) -> bool {
    match (server_etag(kept), server_etag(now)) {
        (Some(a), Some(b)) => a == b,
        _ => kept.size == now.size && kept.modified == now.modified,
    }
}

/// The content hash of a version, if it has one.
pub fn hash(version: &FileVersion) -> Option<&str> {
    etag(version).filter(|etag| Hash::of(etag).is_some())
}

/// The version as its storage knows it: without what we put into its etag.
pub fn as_stored(version: &FileVersion) -> FileVersion {
    FileVersion { etag: server_etag(version).map(str::to_owned), ..version.clone() }
}

/// Marks a version that counts as landed without being read.
pub fn pass_over(version: FileVersion) -> FileVersion {
    FileVersion { etag: Some(format!("{PASSED_OVER}{}", version.tag())), ..version }
}

/// Whether a version was marked by [`pass_over`].
pub fn passed_over(version: &FileVersion) -> bool {
    version.etag.as_deref().is_some_and(|etag| etag.starts_with(PASSED_OVER))
}

fn etag(version: &FileVersion) -> Option<&str> {
    let etag = version.etag.as_deref()?;
    match etag.strip_prefix(PASSED_OVER) {
        Some(tag) => tag.strip_prefix("e:"),
        None => Some(etag),
    }
}

fn server_etag(version: &FileVersion) -> Option<&str> {
    etag(version).filter(|etag| Hash::of(etag).is_none())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use sluis_core::Epoch;

    use super::*;

    fn version(size: u64, second: i64, etag: Option<&str>) -> FileVersion {
        FileVersion { path: "/f".into(), size, modified: DateTime::<Utc>::from_timestamp(second, 0), etag: etag.map(str::to_owned) }
    }
    fn known(version: FileVersion, landed: bool, landed_before: bool) -> KnownFile {
        KnownFile { version, lane: "main".into(), epoch: Epoch(1), landed, landed_before, again: false, mixed: false, corrupt: false }
    }

    #[test]
    fn every_case() {
        use OnOverwrite::{Append, Fail, Ignore, Replace};
        let take = |replaces| Verdict::Take { replaces };
        let v1 = version(3, 1, None);
        let v2 = version(4, 2, None);
        assert_eq!(judge(None, &v1, Fail, false), take(false));
        for policy in [Ignore, Replace, Append, Fail] {
            assert_eq!(judge(Some(&known(v1.clone(), true, true)), &v1, policy, false), Verdict::Known);
            assert_eq!(judge(Some(&known(v1.clone(), false, false)), &v1, policy, false), take(false), "it never landed and is back");
            assert_eq!(judge(Some(&known(v1.clone(), false, false)), &v2, policy, false), take(false), "it never landed");
        }
        let empty = known(version(0, 1, None), true, true);
        assert_eq!(judge(Some(&empty), &version(0, 1, None), Fail, false), Verdict::Known);
        for (policy, replaces) in [(Ignore, false), (Replace, true), (Append, false), (Fail, false)] {
            assert_eq!(judge(Some(&empty), &v1, policy, false), take(replaces), "an empty file has no rows");
        }
        for (policy, expected) in [(Ignore, Verdict::Ignore), (Replace, take(true)), (Append, take(false)), (Fail, Verdict::Conflict)] {
            assert_eq!(judge(Some(&known(v1.clone(), true, true)), &v2, policy, false), expected);
            assert_eq!(judge(Some(&known(v1.clone(), false, true)), &v1, policy, false), expected, "an older version landed");
        }
        let damaged = KnownFile { corrupt: true, ..known(v1.clone(), true, false) };
        for (policy, replaces) in [(Ignore, false), (Replace, true), (Append, false), (Fail, false)] {
            assert_eq!(judge(Some(&damaged), &v1, policy, false), Verdict::Known);
            assert_eq!(judge(Some(&damaged), &v2, policy, false), take(replaces), "a damaged file has no rows");
        }
        let damaged_later = KnownFile { landed_before: true, ..damaged };
        assert_eq!(judge(Some(&damaged_later), &v2, Fail, false), Verdict::Conflict, "an older version landed");
        for (policy, replaces) in [(Ignore, false), (Replace, true), (Append, false), (Fail, false)] {
            let asked_for = KnownFile { again: true, ..known(v1.clone(), false, true) };
            assert_eq!(judge(Some(&asked_for), &v1, policy, false), take(replaces), "a person asked for it once more");
            let never_landed = KnownFile { again: true, ..known(v1.clone(), false, false) };
            assert_eq!(judge(Some(&never_landed), &v1, policy, false), take(false));
        }
    }

    #[test]
    fn versions_are_told_apart_by_etag_else_by_size_and_time() {
        let same_with = |a: FileVersion, b: FileVersion| same(&a, &b);
        assert!(same_with(version(3, 1, Some("a")), version(3, 9, Some("a"))), "the same content put again");
        assert!(!same_with(version(3, 1, Some("a")), version(3, 1, Some("b"))));
        assert!(same_with(version(3, 1, Some("md5:x")), version(3, 1, None)));
        assert!(same_with(version(3, 1, Some("xxh64:x")), version(3, 1, None)));
        assert!(same_with(version(3, 1, Some("md5:x")), version(3, 1, Some("xxh64:y"))), "hashes of two kinds cannot be compared");
        assert!(!same_with(version(3, 1, None), version(3, 2, None)));
        assert!(same_with(version(3, 1, Some("a")), version(3, 1, None)), "a server that stopped to send etags");
        let touched = judge(Some(&known(version(3, 1, Some("md5:x")), true, true)), &version(3, 2, None), OnOverwrite::Fail, false);
        assert_eq!(touched, Verdict::Compare);
        let longer = judge(Some(&known(version(3, 1, Some("md5:x")), true, true)), &version(4, 2, None), OnOverwrite::Fail, false);
        assert_eq!(longer, Verdict::Conflict);
        assert_eq!(as_stored(&version(3, 1, Some("md5:x"))).etag, None);
        assert_eq!(as_stored(&version(3, 1, Some("a"))).etag.as_deref(), Some("a"));
    }

    #[test]
    fn versions_that_were_passed_over_are_known_as_such() {
        for etag in [None, Some("a"), Some("md5:x"), Some("xxh64:x")] {
            let plain = version(3, 1, etag);
            let marked = pass_over(plain.clone());
            assert!(passed_over(&marked) && !passed_over(&plain));
            assert!(same(&marked, &as_stored(&plain)));
            let known = known(marked.clone(), true, true);
            let now = as_stored(&plain);
            assert_eq!(judge(Some(&known), &now, OnOverwrite::Fail, false), Verdict::Known);
            assert_eq!(judge(Some(&known), &now, OnOverwrite::Fail, true), Verdict::Take { replaces: false }, "a backfill takes it");
            assert_eq!(judge(Some(&known), &version(9, 9, Some("z")), OnOverwrite::Fail, false), Verdict::Take { replaces: false });
            assert!(!same(&marked, &as_stored(&version(3, 2, etag.map(|e| if e == "a" { "b" } else { e })))));
            assert_eq!((hash(&marked), as_stored(&marked)), (hash(&plain), as_stored(&plain)));
        }
    }
}
