//! Columns that get another type in a way that Iceberg's own promotions do not have: `bigint` to `double`, anything to `string`.
//!
//! Such a column becomes another field under its name, and data files with the former one are written again, in the snapshot of the epoch that
//! needs it. Until then the new field is a draft: it stands in a schema of the table that is not the current one, so that its id is nobody
//! else's, and files are staged with it. A table property says which field takes whose place: by it a commit knows drafts, and what was staged
//! before a commit of another lane changed a column.
//! Deliberately not here: the commit around it; whether a pipeline wants it (its contract says so). Guarantees: readers see a column with its
//! former type and all values, or with its new type and all values; a value that the new type cannot hold exactly makes the column text; a
//! column that rows are divided, sorted or told by keeps its type, and so does every column of a table that the pipeline has no part in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::{DataType, Schema as ArrowSchema, SchemaRef};
use iceberg::spec::{
    DataFile, NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType as P, Schema, SchemaRef as TableSchemaRef, TableMetadata,
    TableMetadataBuilder, Type,
};
use serde_json::{Value, json};
use sluis_core::columns::{map_parts, type_name, widen};
use sluis_core::{CommitKey, Error, ErrorKind, Result};

use crate::commit::{PROPERTY as COMMITTED, Plan};
use crate::facts::Facts;
use crate::lake::Version;
use crate::manifest;
use crate::read::{column_ids, formerly};
use crate::remove::Gone;
use crate::rewrite::{Rewriter, to_read};
use crate::schema::{accepts, arrow_type, fresh, sql_name, table_columns};
use crate::table::{Mode, Table, build, changed};
use crate::work::broken;

/// What table properties begin with that say whose place a field takes: `sluis.retyped.7` = `3`.
const PROPERTY: &str = "sluis.retyped.";
/// The table property that has the pipeline by which a table was created.
pub const CREATED_BY: &str = "sluis.created-by";
/// Up to this a double has every whole number.
const EXACT: i64 = 1 << 53;
/// Digits of a decimal that a double gives back as they were.
const DIGITS: u32 = 15;

/// Which fields took, or are to take, the place of which: ids by ids.
#[derive(Debug, Default)]
pub struct Lineage(BTreeMap<i32, i32>);

impl Lineage {
    pub fn of(metadata: &TableMetadata) -> Lineage {
        let pair = |(key, value): (&String, &String)| Some((key.strip_prefix(PROPERTY)?.parse().ok()?, value.parse().ok()?));
        // Ids only grow: what says otherwise is none of ours.
        Lineage(metadata.properties().iter().filter_map(pair).filter(|(id, former)| former < id).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn first(&self, id: i32) -> i32 {
        self.0.get(&id).map_or(id, |former| self.first(*former))
    }

    /// All ids that the column of a field had, has or may get, but its own.
    fn others(&self, id: i32) -> BTreeSet<i32> {
        let first = self.first(id);
        self.0.iter().flat_map(|(a, b)| [*a, *b]).filter(|other| *other != id && self.first(*other) == first).collect()
    }

    /// The ids that take the place of a field, newest first.
    fn drafts(&self, id: i32) -> impl Iterator<Item = i32> {
        self.0.iter().rev().filter(move |(_, former)| **former == id).map(|(draft, _)| *draft)
    }
}

/// A column of the table, of whatever schema.
fn field(metadata: &TableMetadata, id: i32) -> Option<NestedFieldRef> {
    metadata.schemas_iter().find_map(|s| s.as_struct().fields().iter().find(|f| f.id == id).cloned())
}

/// The ids of a field and of its parts.
fn ids(field: &NestedField, out: &mut HashSet<i32>) {
    out.insert(field.id);
    match &*field.field_type {
        Type::Primitive(_) => {}
        Type::Struct(parts) => parts.fields().iter().for_each(|f| ids(f, out)),
        Type::List(list) => ids(&list.element_field, out),
        Type::Map(map) => [&map.key_field, &map.value_field].into_iter().for_each(|f| ids(f, out)),
    }
}

fn all_ids(field: &NestedField) -> HashSet<i32> {
    let mut out = HashSet::new();
    ids(field, &mut out);
    out
}

/// A column that rows need with another type.
pub struct Draft {
    /// Its place among the table's columns.
    place: usize,
    have: NestedFieldRef,
    to: DataType,
    /// The field that is ready for it.
    field: Option<NestedFieldRef>,
}

/// Takes out of `columns` those that the table can take only with another type, and those that it took before as a narrower one.
pub fn drafts(table: &Table, metadata: &TableMetadata, columns: &ArrowSchema) -> (ArrowSchema, Vec<Draft>) {
    let lineage = Lineage::of(metadata);
    let (mut rest, mut drafts) = (Vec::with_capacity(columns.fields().len()), Vec::new());
    for come in columns.fields() {
        let place = metadata.current_schema().as_struct().fields().iter().position(|f| f.name == *come.name());
        let unfit = place.map(|place| (place, &metadata.current_schema().as_struct().fields()[place])).filter(|(_, f)| !accepts(f, come.data_type()));
        let Some((place, have)) = unfit else {
            rest.push(come.clone());
            continue;
        };
        let now = arrow_type(&have.field_type, false);
        let wanted = fresh(&widen(&now, come.data_type()), &mut 0).map(|t| arrow_type(&t, false));
        match wanted {
            Ok(to) if to == now && lineage.0.contains_key(&have.id) => {}
            Ok(to) if to != now && allowed(table, metadata, have) && convertible(&have.field_type, &to) => {
                let of_type = |f: &NestedFieldRef| arrow_type(&f.field_type, false) == to;
                let field = lineage.drafts(have.id).filter_map(|id| field(metadata, id)).find(of_type);
                drafts.push(Draft { place, have: have.clone(), to, field });
            }
            _ => rest.push(come.clone()),
        }
    }
    (ArrowSchema::new(rest), drafts)
}

/// Whether a column may change its type.
fn allowed(table: &Table, metadata: &TableMetadata, have: &NestedField) -> bool {
    if !table.settings.retypes || have.required {
        return false;
    }
    if matches!(&table.settings.mode, Mode::Upsert { key } if key.contains(&have.name)) {
        return false;
    }
    let own = all_ids(have);
    let mut sources = metadata.partition_specs_iter().flat_map(|s| s.fields().iter().map(|f| f.source_id).collect::<Vec<_>>());
    let mut sorted = metadata.sort_orders_iter().flat_map(|o| o.fields.iter().map(|f| f.source_id).collect::<Vec<_>>());
    let mut tell = metadata.current_schema().identifier_field_ids();
    if sources.any(|id| own.contains(&id)) || sorted.any(|id| own.contains(&id)) || tell.any(|id| own.contains(&id)) {
        return false;
    }
    let committed = format!("{COMMITTED}{}.", table.pipeline);
    let created = metadata.current_snapshot().is_none() && metadata.properties().get(CREATED_BY).is_some_and(|p| *p == table.pipeline.to_string());
    created || metadata.properties().keys().any(|key| key.starts_with(&committed))
}

/// Whether every value of a type can be written as another, which was found to hold it.
fn convertible(from: &Type, to: &DataType) -> bool {
    if accepts(&NestedField::optional(0, "", from.clone()), to) {
        return true;
    }
    match (from, to) {
        (Type::Primitive(p), DataType::Utf8) => !matches!(p, P::Binary | P::Fixed(_) | P::Uuid),
        (Type::Primitive(P::Int | P::Long | P::Float), DataType::Float64) => true,
        (Type::Primitive(P::Decimal { precision, .. }), DataType::Float64) => *precision <= DIGITS,
        (Type::Primitive(P::Int | P::Long | P::Decimal { .. }), DataType::Decimal128(..)) => true,
        (Type::Primitive(P::Date), DataType::Timestamp(_, None)) => true,
        (Type::Struct(parts), DataType::Struct(fields)) => {
            let part = |p: &NestedFieldRef| fields.iter().find(|f| *f.name() == p.name).is_some_and(|f| convertible(&p.field_type, f.data_type()));
            parts.fields().iter().all(part)
        }
        (Type::List(list), DataType::List(item)) => convertible(&list.element_field.field_type, item.data_type()),
        (Type::Map(map), to) => map_parts(to)
            .is_some_and(|(key, value)| arrow_type(&map.key_field.field_type, false) == *key && convertible(&map.value_field.field_type, value)),
        _ => false,
    }
}

/// The fields, of a column that is to change, whose whole numbers become doubles.
fn to_doubles(from: &NestedField, to: &DataType, out: &mut Vec<i32>) {
    match (&*from.field_type, to) {
        (Type::Primitive(P::Long), DataType::Float64) => out.push(from.id),
        (Type::Struct(parts), DataType::Struct(fields)) => {
            for part in parts.fields() {
                fields.iter().filter(|f| *f.name() == part.name).for_each(|f| to_doubles(part, f.data_type(), out));
            }
        }
        (Type::List(list), DataType::List(item)) => to_doubles(&list.element_field, item.data_type(), out),
        (Type::Map(map), to) => map_parts(to).into_iter().for_each(|(_, value)| to_doubles(&map.value_field, value, out)),
        _ => {}
    }
}

/// Whether the statistics of a data file say that all its values of a field are whole numbers that a double has.
fn exact(file: &DataFile, id: i32) -> bool {
    if file.value_counts().get(&id).is_some_and(|n| file.null_value_counts().get(&id) == Some(n)) {
        return true;
    }
    if !file.value_counts().is_empty() && !file.value_counts().contains_key(&id) {
        return true;
    }
    let within = |bound: Option<&iceberg::spec::Datum>| match bound.map(iceberg::spec::Datum::literal) {
        Some(PrimitiveLiteral::Long(v)) => (-EXACT..=EXACT).contains(v),
        Some(PrimitiveLiteral::Int(_)) => true,
        _ => false,
    };
    within(file.lower_bounds().get(&id)) && within(file.upper_bounds().get(&id))
}

/// Whether the rows that are there allow it.
///
/// # Errors
/// `ErrorKind::Config` if not, naming the column.
pub async fn possible(table: &Table, version: &Version, drafts: &[Draft]) -> Result<()> {
    let manifests = manifest::current(&table.lake, version).await?;
    for draft in drafts {
        let refused = |why: &str| {
            let (column, have, to) = (&draft.have.name, sql_name(&draft.have.field_type), type_name(&draft.to));
            let message = format!("column `{column}` does not fit table `{}`: it is {have} in the table, and to become {to}: {why}", table.name());
            Err(Error::config(message).context("column", column).hint(format!("`select` can make it fit, as in `cast({column} as …) as {column}`")))
        };
        if manifests.iter().any(manifest::lists_deletes) {
            return refused("another engine wrote delete files, and data files with those are not written again");
        }
        let mut doubles = Vec::new();
        to_doubles(&draft.have, &draft.to, &mut doubles);
        if doubles.is_empty() {
            continue;
        }
        for m in manifests.iter().filter(|m| manifest::live_files(m) > 0) {
            let entries = manifest::entries(&table.lake, &version.metadata, m).await?;
            if entries.iter().filter(|e| e.live()).any(|e| !doubles.iter().all(|id| exact(&e.file, *id))) {
                return refused("its numbers may be too large for that");
            }
        }
    }
    Ok(())
}

/// What the drafts say, a sentence each, for people.
pub fn sentences(table: &Table, drafts: &[Draft]) -> Vec<String> {
    let one = |d: &Draft| {
        let (column, have, to) = (&d.have.name, sql_name(&d.have.field_type), type_name(&d.to));
        format!("column `{column}` of table `{}` becomes {to} (it is {have}): data files that have it are written again", table.name())
    };
    drafts.iter().map(one).collect()
}

/// A schema with drafts for those that have none yet, whose fields are noted; and the properties that say whose place they take. `last`: the
/// table's last column id.
pub fn draft(schema: &Schema, mut last: i32, drafts: &mut [Draft]) -> Result<(Schema, HashMap<String, String>)> {
    let mut properties = HashMap::new();
    for d in drafts.iter_mut().filter(|d| d.field.is_none()) {
        let new = another(&d.have, &d.to, &mut last)?;
        properties.insert(format!("{PROPERTY}{}", new.id), d.have.id.to_string());
        d.field = Some(new);
    }
    Ok((with_drafts(schema, drafts)?, properties))
}

/// A field that takes the place of another.
fn another(have: &NestedField, to: &DataType, last: &mut i32) -> Result<NestedFieldRef> {
    *last += 1;
    let id = *last;
    let mut new = NestedField::optional(id, &have.name, fresh(to, last).map_err(Error::internal)?);
    new.doc.clone_from(&have.doc);
    Ok(new.into())
}

fn with_drafts(schema: &Schema, drafts: &[Draft]) -> Result<Schema> {
    let mut fields = schema.as_struct().fields().to_vec();
    for d in drafts {
        fields[d.place] = d.field.clone().ok_or_else(|| Error::internal("a draft has no field"))?;
    }
    of_fields(schema, fields)
}

fn of_fields(before: &Schema, fields: Vec<NestedFieldRef>) -> Result<Schema> {
    let built = Schema::builder().with_fields(fields).with_identifier_field_ids(before.identifier_field_ids()).build();
    built.map_err(broken("columns make no schema"))
}

/// The columns that files are staged with.
pub fn staged_with(schema: &TableSchemaRef, drafts: &[Draft]) -> Result<TableSchemaRef> {
    if drafts.is_empty() { Ok(schema.clone()) } else { with_drafts(schema, drafts).map(Arc::new) }
}

/// What a commit changes in the table's columns.
pub struct Change {
    /// The table, as it is but for its columns.
    pub version: Version,
    columns: Vec<Column>,
}

struct Column {
    field: NestedFieldRef,
    /// Other ids whose values are its.
    formers: BTreeSet<i32>,
    /// What it was; `None`: only files that were staged before it changed are written again.
    before: Option<NestedFieldRef>,
}

/// What becomes of the table's columns by these files; `None`: nothing. Columns of `as_text` become text.
///
/// # Errors
/// `ErrorKind::Conflict`: the table has lost a column that the files have.
pub fn settle(table: &Table, version: &Version, files: &[Facts], as_text: &BTreeSet<String>) -> Result<Option<Change>> {
    let metadata = &version.metadata;
    let lineage = Lineage::of(metadata);
    if lineage.is_empty() {
        return Ok(None);
    }
    let current = metadata.current_schema();
    let (mut fields, mut last) = (current.as_struct().fields().to_vec(), metadata.last_column_id());
    let (mut columns, mut properties) = (Vec::new(), HashMap::new());
    for field_of_now in &mut fields {
        let have = field_of_now.clone();
        let mut to = arrow_type(&have.field_type, false);
        let (mut staged, mut formers) = (false, lineage.others(have.id));
        for id in &formers {
            let Some(other) = field(metadata, *id) else { continue };
            let leaves = all_ids(&other);
            if files.iter().any(|f| f.columns.keys().any(|id| leaves.contains(id))) {
                staged = true;
                to = widen(&to, &arrow_type(&other.field_type, false));
                if ![&have, &other].into_iter().all(|f| convertible(&f.field_type, &to)) {
                    to = DataType::Utf8;
                }
            }
        }
        if !staged {
            continue;
        }
        if as_text.contains(&have.name) {
            to = DataType::Utf8;
        }
        let of_type = |f: &NestedFieldRef| arrow_type(&f.field_type, false) == to;
        if !of_type(&have) {
            let known = formers.iter().rev().filter_map(|id| field(metadata, *id)).find(of_type);
            let mut new = match known {
                Some(known) => known.as_ref().clone(),
                None => {
                    let new = another(&have, &to, &mut last)?;
                    properties.insert(format!("{PROPERTY}{}", new.id), have.id.to_string());
                    new.as_ref().clone()
                }
            };
            new.name.clone_from(&have.name);
            *field_of_now = new.into();
            formers.insert(have.id);
            formers.remove(&field_of_now.id);
        }
        let before = (have.id != field_of_now.id).then_some(have);
        columns.push(Column { field: field_of_now.clone(), formers, before });
    }
    let known: HashSet<i32> = metadata.schemas_iter().flat_map(|s| s.field_id_to_name_map().keys().copied().collect::<Vec<_>>()).collect();
    if files.iter().any(|f| f.columns.keys().any(|id| !known.contains(id))) {
        return Err(changed(table.name(), "has lost a column that an epoch was staged with"));
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let builder = TableMetadataBuilder::new_from_metadata(metadata.as_ref().clone(), None)
        .add_current_schema(of_fields(current, fields)?)
        .and_then(|b| b.set_properties(properties))
        .map_err(broken("a column's type cannot be changed"))?;
    let made = Arc::new(build(builder)?.metadata);
    let version = Version { name: version.name.clone(), location: version.location.clone(), metadata: made, manifests: version.manifests.clone() };
    Ok(Some(Change { version, columns }))
}

impl Change {
    /// The table's columns, as they are found in its files.
    pub fn reading(&self) -> SchemaRef {
        let columns = table_columns(self.version.metadata.current_schema());
        let one = |(field, column): (&arrow_schema::FieldRef, &NestedFieldRef)| match self.columns.iter().find(|c| c.field.id == column.id) {
            Some(c) => Arc::new(formerly(field, &c.formers.iter().rev().copied().collect::<Vec<_>>())),
            None => field.clone(),
        };
        let fields = columns.fields().iter().zip(self.version.metadata.current_schema().as_struct().fields());
        Arc::new(ArrowSchema::new(fields.map(one).collect::<Vec<_>>()))
    }

    /// The column that cannot become what it was to become, if an error says so: it is to become text.
    pub fn too_narrow(&self, e: &Error) -> Option<String> {
        let column = e.contexts().iter().find(|(key, _)| *key == "column").map(|(_, name)| name.clone())?;
        let text = |c: &Column| matches!(*c.field.field_type, Type::Primitive(P::String));
        (e.kind() == ErrorKind::Data && self.columns.iter().any(|c| c.field.name == column && !text(c))).then_some(column)
    }

    /// The ids, parts included, by which files have these columns that do not have them by their own.
    fn former_ids<'a>(&self, columns: impl Iterator<Item = &'a Column>) -> HashSet<i32> {
        let mut all = HashSet::new();
        columns.flat_map(|c| &c.formers).filter_map(|id| field(&self.version.metadata, *id)).for_each(|f| ids(&f, &mut all));
        all
    }

    /// Writes again what has a column by another id than its own: of the files that are added, and of those that stay.
    pub async fn apply(&self, table: &Table, key: &CommitKey, mut plan: Plan) -> Result<Plan> {
        let (version, reading) = (&self.version, self.reading());
        let mut rewriter = Rewriter::new(table, version, key, reading, table_columns(version.metadata.current_schema()));
        let has = |file: &DataFile, ids: &HashSet<i32>| file.value_counts().keys().any(|id| ids.contains(id));
        let staged = self.former_ids(self.columns.iter());
        for (spec, file) in plan.added.iter_mut().filter(|(_, file)| has(file, &staged)) {
            *file = rewriter.again(file, *spec, None).await?;
        }
        let (mut again, mut rows) = (HashSet::new(), 0);
        let former = self.former_ids(self.columns.iter().filter(|c| c.before.is_some()));
        let manifests = if former.is_empty() { &[] } else { manifest::current(&table.lake, version).await? };
        for m in manifests.iter().filter(|m| manifest::live_files(m) > 0) {
            for e in manifest::entries(&table.lake, &version.metadata, m).await?.into_iter().filter(manifest::Entry::live) {
                let (file, spec) = (&e.file, m.partition_spec_id);
                if plan.gone.says(file, spec) {
                    continue;
                }
                // Other engines may keep no statistics of a column.
                if has(file, &former) || column_ids(&table.lake, &to_read(file)).await?.iter().any(|id| former.contains(id)) {
                    plan.added.push((spec, rewriter.again(file, spec, None).await?));
                    again.insert(file.file_path().to_owned());
                    rows += file.record_count();
                }
            }
        }
        for column in &self.columns {
            if let Some((from, to)) = column.types() {
                tracing::info!(table = %table.name(), column = column.field.name, from, to, files = again.len(), rows, "a column changes its type");
            }
        }
        plan.written.extend(rewriter.written);
        plan.gone = plan.gone.or(Gone::if_so(move |file, _| again.contains(file.file_path())));
        Ok(plan)
    }

    /// For the receipt: columns that changed their types.
    pub fn told(&self) -> Option<Value> {
        let columns = self.columns.iter().filter_map(|c| c.types().map(|(from, to)| json!({ "column": c.field.name, "from": from, "to": to })));
        let columns: Vec<Value> = columns.collect();
        (!columns.is_empty()).then(|| columns.into())
    }
}

impl Column {
    fn types(&self) -> Option<(String, String)> {
        self.before.as_ref().map(|before| (sql_name(&before.field_type), sql_name(&self.field.field_type)))
    }
}
