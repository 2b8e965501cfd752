//! The vocabulary of sluis, the traits its parts meet at, and the pure decisions of the commit protocol.
//!
//! Deliberately not here: I/O, a clock, threads, tokio. Everything below is data, a trait, or a pure function,
//! so that the engine, the simulator and every connector share one meaning of each word.
//!
//! | word | type |
//! |---|---|
//! | epoch, lane, commit key | [`Epoch`], [`LaneId`], [`CommitKey`] |
//! | partition, position, checkpoint | [`PartitionId`], [`Position`], [`Checkpoint`] |
//! | file version, split | [`FileVersion`], [`Split`] |
//! | member (of an archive) | [`Member`] |
//! | planned, staged, committed | [`Planned`], [`Staged`], [`Committed`] |
//! | reject | [`Reject`] |

pub mod blocking;
pub mod clock;
pub mod columns;
pub mod contract;
pub mod crash;
pub mod decide;
pub mod divide;
pub mod error;
pub mod format;
pub mod ids;
pub mod ledger;
pub mod panics;
pub mod position;
pub mod record;
pub mod registry;
pub mod reject;
pub mod secret;
pub mod sink;
pub mod source;
pub mod split;
pub mod transform;
pub mod units;
pub mod unpacking;

pub use clock::Clock;
pub use contract::{Contract, Misfit, Misfits, OnDrift, Surplus};
pub use decide::{Next, decide};
pub use error::{Error, ErrorKind, Result, Retry};
pub use format::{Decoded, Encoder, EncoderFactory, FileFormat, RawFile, ReadOptions, RowOrigins};
pub use ids::{Attempt, CommitKey, Epoch, Generation, LaneId, PipelineName, SinkName};
pub use ledger::{Created, FileHistory, KnownFile, LaneShard, Lease, LeaseHolder, LedgerStore};
pub use position::{Checkpoint, PartitionId, Position};
pub use record::{Change, Committed, Drift, LaneView, Outcome, Planned, Record, RowCounts, SplitReport, Staged, ValueCounts};
pub use registry::{BuildContext, FileHead, FormatDef, Registry, Selection, SinkDef, Sniffed, SourceDef};
pub use reject::{Reject, RejectReason};
pub use sink::{Committable, Disposition, Guarantee, Receipt, Sink, SinkWriter, StagedEpoch, WriteBatch};
pub use source::{Discovery, EpochLimits, Member, Members, Opened, Source};
pub use split::{FileVersion, Split};
pub use transform::{TableResolver, TableSource, Transform, TransformPlan, TransformRun, Transformed};
pub use units::{ByteSize, HumanDuration};
pub use unpacking::{UnpackLimits, Unpacking};
