//! The grammar of pipeline and project files, as types: the editors' schema, the reference docs and the checks are made from them.
//!
//! What connectors and formats take is not here: it comes from their own schemas, through the registry. The doc comments are the users'
//! reference. Deliberately not here: what the values mean together (`build/`).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};
use sluis_core::OnDrift;
use sluis_core::units::{ByteSize, HumanDuration};

/// Reference to a definition that is filled in from the registry.
macro_rules! from_registry {
    ($($name:ident => $definition:literal),*) => {$(
        fn $name(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "$ref": concat!("#/$defs/", $definition) })
        }
    )*};
}
from_registry!(from => "from", tables => "tables", targets => "targets", target => "target", connections => "connections");

/// A pipeline: where rows come from, what is checked and selected, where they go, when it runs.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// What the pipeline is called in the ledger, the logs and on the command line. Default: the file's name without its ending.
    /// Letters, digits, `_`, `-` and `.`. A pipeline that is renamed starts anew.
    pub name: Option<String>,
    /// What it is for; shown by `status` and in the docs of a project.
    pub description: Option<String>,
    /// Variables of this file: `${day}` stands for the value of `day`. They go over those of the project; `--var day=…` goes over both.
    pub vars: Option<Map<String, Value>>,
    /// The source, and beside it the format of its files: `{ files: {...}, csv: {...} }`.
    #[schemars(schema_with = "from")]
    pub from: Value,
    /// Conditions in SQL that every row must meet, in order: a text each, or `name`, `that` and `on_fail`.
    pub check: Option<Checks>,
    /// What happens when files bring a column that the schema does not have, or a value that is not of its column's type. One word for both,
    /// or `columns` and `types` each. Default: `evolve`.
    pub contract: Option<ContractSpec>,
    /// SQL over `input`, the rows that met the checks. Several named steps see the ones before them; the last one's rows go to the targets.
    /// Default: the rows as they are.
    pub select: Option<Selects>,
    /// What one `select` sees: `row` (default), or `epoch`: all rows of a micro-batch, for SQL that looks across rows (aggregates, windows,
    /// distinct, order).
    pub scope: Option<Scope>,
    /// Files to look things up in: a table of this name for the SQL of `select`, each written as `from` is.
    #[schemars(schema_with = "tables")]
    #[serde(default)]
    pub tables: Option<Value>,
    /// The targets: `{ table: {...} }`, several in one mapping, or a list where a kind occurs twice.
    #[schemars(schema_with = "targets")]
    pub into: Value,
    /// One target for the rows that could not land, with reason, file, line and raw bytes. Default: Parquet files in the state folder.
    #[schemars(schema_with = "target")]
    #[serde(default)]
    pub rejects: Option<Value>,
    /// When `serve` runs it: a crontab line, `every 30s`, `live`, `after OTHER`, or `manual` (default).
    pub when: Option<When>,
    /// Who is told, and of what.
    pub alert: Option<AlertSpec>,
    /// Error budgets. More rejects than that and the epoch fails before anything is committed: `rejects > 1%` (of the rows read),
    /// `rejects > 100`. One, or a list.
    pub fail_if: Option<OneOrMany<BudgetText>>,
    /// How much one epoch (micro-batch) takes.
    pub limits: Option<LimitsSpec>,
    /// How the work is done.
    pub settings: Option<SettingsSpec>,
}

/// A project: what its pipelines share. `sluis.yaml`, beside the folder `pipelines/`.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSpec {
    /// The project's name. Default: its folder's.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Variables for all its pipelines: `${bucket}` stands for the value of `bucket`. `--var bucket=…` on the command line goes over them.
    pub vars: Option<Map<String, Value>>,
    /// Addresses and credentials under names: `{ lake: { s3: {...} } }`.
    #[schemars(schema_with = "connections")]
    #[serde(default)]
    pub connections: Option<Value>,
    /// Where the tables of `into: table` live. Default: a local folder in the state folder, with an SQLite catalog.
    pub lake: Option<Map<String, Value>>,
    /// The log of what has landed.
    pub ledger: Option<LedgerSpec>,
    /// Folder for local state: ledger, default lake, rejects. Relative to the project. Default: `.sluis`. Environments share it unless
    /// each says its own, and what landed in one of them then counts as landed in the others.
    pub state_dir: Option<String>,
    /// Settings for every pipeline that does not say them itself.
    pub defaults: Option<DefaultsSpec>,
    /// Environments by name, chosen with `--env`: what each says goes over the project's own, key by key. The same can stand in a file
    /// `sluis.NAME.yaml` beside `sluis.yaml`.
    pub environments: Option<std::collections::BTreeMap<String, EnvironmentSpec>>,
}

/// What differs in one environment.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Variables over the project's.
    pub vars: Option<Map<String, Value>>,
    /// Connections over the project's, merged key by key; a connection of another kind replaces.
    #[schemars(schema_with = "connections")]
    #[serde(default)]
    pub connections: Option<Value>,
    /// The lake of this environment.
    pub lake: Option<Map<String, Value>>,
    /// The ledger of this environment.
    pub ledger: Option<LedgerSpec>,
    /// The state folder of this environment.
    pub state_dir: Option<String>,
    /// Settings over the project's `defaults`.
    pub defaults: Option<DefaultsSpec>,
}

/// Where the ledger is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerSpec {
    /// Its file, an SQLite database on a local disk. Relative to the project. Default: `ledger.db` in the state folder.
    pub path: Option<String>,
}

/// What a project can say for all its pipelines.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultsSpec {
    /// Where rejects go.
    #[schemars(schema_with = "target")]
    #[serde(default)]
    pub rejects: Option<Value>,
    /// What happens when files change.
    pub contract: Option<ContractSpec>,
    /// When they run.
    pub when: Option<When>,
    /// Who is told, and of what.
    pub alert: Option<AlertSpec>,
    /// Error budgets.
    pub fail_if: Option<OneOrMany<BudgetText>>,
    /// How much one epoch takes.
    pub limits: Option<LimitsSpec>,
    /// How the work is done.
    pub settings: Option<SettingsSpec>,
}

/// One, or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

/// The checks.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Checks {
    One(String),
    Many(Vec<CheckSpec>),
}

/// One check.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum CheckSpec {
    That(String),
    Named(NamedCheck),
}

/// A check with everything said.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedCheck {
    /// Its name in rejects, warnings and the history. Default: the condition itself.
    pub name: Option<String>,
    /// The condition, in SQL over the row's columns. A row for which it is false fails; unknown (null) passes.
    pub that: String,
    /// What happens to a row that fails: `reject` (default: it goes to the rejects), `warn` (it stays and is counted), `fail` (the epoch
    /// fails).
    pub on_fail: Option<OnFail>,
}

/// What happens to a row that fails a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    /// It goes to the rejects.
    #[default]
    Reject,
    /// It stays, and is counted.
    Warn,
    /// The epoch fails.
    Fail,
}

/// One word for columns and types, or each its own.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ContractSpec {
    Both(OnDrift),
    Each(EachContract),
}

/// A contract for columns and one for types.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EachContract {
    /// A column that the schema does not have: `evolve` (default: it becomes a new column), `freeze` (the epoch fails), `discard_row` (rows
    /// with a value in it are rejected as `contract_violated`), `discard_value` (it is left out, its values are counted), `rescue` (its
    /// values are kept as JSON in the column `_rescued`). Null and the empty text are no values here, but for `freeze`.
    pub columns: Option<OnDrift>,
    /// A value that is not of its column's type: `evolve` (default: an inferred column takes a wider type if every target can, else the row
    /// is rejected; a declared type never changes), `freeze` (the epoch fails), `discard_row` (the row is rejected as `bad_value`),
    /// `discard_value` (null takes its place, and it is counted), `rescue` (null takes its place, and it is kept in `_rescued`).
    pub types: Option<OnDrift>,
}

/// The SQL of `select`.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum Selects {
    One(String),
    Steps(Vec<SelectStep>),
    Named(std::collections::BTreeMap<String, String>),
}

/// One step of several.
#[derive(Debug, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectStep {
    /// The table name that later steps know its rows by.
    pub name: String,
    /// A SELECT over `input`, earlier steps and look-up tables.
    pub sql: String,
}

/// What SQL sees at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each row by itself.
    #[default]
    Row,
    /// All rows of a micro-batch.
    Epoch,
}

/// When a pipeline runs.
#[derive(Debug, JsonSchema)]
#[serde(untagged)]
pub enum When {
    Text(WhenText),
    Said(WhenSpec),
}

/// A crontab line, `every 30s`, `live`, `manual`, `after OTHER`.
#[derive(Debug, JsonSchema)]
#[schemars(inline, extend("examples" = ["5 3 * * *", "every 30s", "live", "after load_cells", "manual"]))]
#[serde(transparent)]
pub struct WhenText(pub String);

/// One of `cron`, `every` and `after`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhenSpec {
    /// A crontab line: minute, hour, day of month, month, day of week, in the machine's local time.
    pub cron: Option<CronText>,
    /// The pause between the starts of two runs.
    pub every: Option<HumanDuration>,
    /// Pipelines after whose runs this one runs: one, or a list.
    pub after: Option<OneOrMany<String>>,
}

/// Who is told, and of what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertSpec {
    /// Addresses: one, or a list.
    pub email: OneOrMany<EmailText>,
    /// Of what: `failure` (default), and budgets such as `rejects > 1%`. One, or a list.
    pub on: Option<OneOrMany<AlertText>>,
}

/// A crontab line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(inline, extend("format" = "sluis-cron", "examples" = ["5 3 * * *"]))]
#[serde(transparent)]
pub struct CronText(pub String);

/// An e-mail address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(inline, extend("format" = "sluis-email", "examples" = ["ops@example.org"]))]
#[serde(transparent)]
pub struct EmailText(pub String);

/// `failure`, or a budget such as `rejects > 1%`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(inline, extend("format" = "sluis-alert", "examples" = ["failure", "rejects > 1%"]))]
#[serde(transparent)]
pub struct AlertText(pub String);

/// `rejects > 1%`, `rejects > 100`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(inline, extend("format" = "sluis-budget", "examples" = ["rejects > 1%", "rejects > 100"]))]
#[serde(transparent)]
pub struct BudgetText(pub String);

/// How much one epoch takes.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSpec {
    /// Files, at most. Default: 1000.
    #[schemars(range(min = 1))]
    pub files: Option<u64>,
    /// Bytes as stored, at most; a larger file is an epoch of its own. Default: `2GiB`.
    pub bytes: Option<ByteSize>,
    /// Rows, at most, where the source can stop between rows; files are never cut. Default: no limit.
    #[schemars(range(min = 1))]
    pub rows: Option<u64>,
}

/// How the work is done.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsSpec {
    /// Tasks an epoch is cut into; each has its own writers and makes its own files. Default: 1.
    #[schemars(range(min = 1, max = 1024))]
    pub tasks: Option<u32>,
    /// Threads that decode and compute. Default: one per processor.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u32>,
    /// Rows worked on at a time. Default: 8192.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_rows: Option<u32>,
    /// Files looked at to infer column types. Default: 10.
    #[schemars(range(min = 1, max = 10_000))]
    pub sample_files: Option<u32>,
    /// What happens when a file is damaged as a whole: `fail` (default) stops the epoch and names the file, `reject` puts the file on
    /// record in the rejects and lands no row of it.
    pub on_corrupt: Option<OnCorrupt>,
    /// How often an epoch is tried when it fails in a way that may pass. Default: 5.
    #[schemars(range(min = 1, max = 100))]
    pub tries: Option<u32>,
}

/// What happens when a file is damaged as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCorrupt {
    /// The epoch fails, naming the file.
    #[default]
    Fail,
    /// One reject for the file, no rows of it.
    Reject,
}
