//! Ids in the names of metadata files, manifests and their lists: whose they are and of which epoch, so that a sweep knows them by their names.
//!
//! Deliberately not here: what is swept. Guarantees: ids of two tables differ, also of tables that had one name one after the other.

use sluis_core::CommitKey;
use uuid::Uuid;

use crate::commit::property;
use crate::table::{NO_LANE, Table};
use crate::work::hash;

/// Whose a file is, as ids say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 6]);

impl Owner {
    /// The lane and target whose commits `property` counts, in the table `table`.
    pub fn counted_by(property: &str, table: Uuid) -> Owner {
        Owner::hashed([table.to_string().as_str(), property])
    }

    /// The lane and target of a commit.
    pub fn of(key: &CommitKey, table: Uuid) -> Owner {
        Owner::counted_by(&property(key), table)
    }

    /// Whoever creates or widens a table for this target: it is of no lane, and the table may not be there yet.
    pub fn preparing(table: &Table) -> Owner {
        Owner::hashed([table.pipeline.as_str(), NO_LANE, table.sink.as_str()])
    }

    fn hashed<'a>(parts: impl IntoIterator<Item = &'a str>) -> Owner {
        let h = hash(parts).to_be_bytes();
        Owner([h[0], h[1], h[2], h[3], h[4], h[5]])
    }

    /// A new id for the files of one try.
    pub fn id(self, epoch: u64) -> Uuid {
        let mut bytes = *Uuid::new_v4().as_bytes();
        bytes[..6].copy_from_slice(&self.0);
        bytes[9..13].copy_from_slice(&(epoch as u32).to_be_bytes());
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// What an id says: the owner and the epoch's low 32 bits; `None`: another program made it.
pub fn said(id: &Uuid) -> Option<(Owner, u32)> {
    let bytes = id.as_bytes();
    let owner = Owner([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
    (id.get_version_num() == 8).then(|| (owner, u32::from_be_bytes([bytes[9], bytes[10], bytes[11], bytes[12]])))
}

/// The id in the name of a metadata file, manifest or manifest list.
pub fn id_in(path: &str) -> Option<Uuid> {
    let name = path.rsplit('/').next()?;
    let at = |start: usize| name.get(start..start + 36).and_then(|text| Uuid::try_parse(text).ok());
    at(0).or_else(|| at(name.find('-')? + 1)).or_else(|| at(name.len().checked_sub(36 + ".avro".len())?))
}

#[cfg(test)]
mod tests {
    use sluis_core::{Epoch, LaneId, SinkName};

    use super::*;

    #[test]
    fn ids_are_found_in_the_names_of_all_kinds_of_files() {
        let id = Uuid::new_v4();
        for name in [format!("t/metadata/00012-{id}.metadata.json"), format!("{id}-m3.avro"), format!("x/snap-123456-1-{id}.avro")] {
            assert_eq!(id_in(&name), Some(id), "{name}");
        }
        assert_eq!(id_in("metadata/version-hint.text"), None);
    }

    #[test]
    fn ids_say_whose_they_are_and_of_which_epoch() {
        let key = CommitKey { lane: LaneId::new("p", "main"), sink: SinkName::new("table"), epoch: Epoch(1) };
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = Owner::of(&key, one).id(70_000);
        assert_eq!(said(&id), Some((Owner::of(&key, one), 70_000)));
        assert_ne!(Owner::of(&key, one), Owner::of(&key, other));
        assert_ne!(id, Owner::of(&key, one).id(70_000));
        assert_eq!(said(&Uuid::new_v4()), None);
    }
}
