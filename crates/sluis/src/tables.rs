//! Tables that SQL can look things up in: a pipeline's `tables:` (files read as one), then the lake's.
//!
//! Guarantee: the lake is opened when a statement first names something that is no look-up table, not before.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow_schema::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sluis_config::{LookupTable, Project};
use sluis_core::columns::{align, unite};
use sluis_core::{
    BuildContext, Checkpoint, EpochLimits, Error, ErrorKind, FileFormat, FileHistory, KnownFile, LaneShard, Opened, RawFile, ReadOptions, Result,
    Source, Split, TableResolver, TableSource,
};
use sluis_lake::Lake;

/// The lake of a project (secrets resolved), opened at the first question.
pub struct LazyLake {
    project: Project,
    lake: OnceLock<Arc<dyn TableResolver>>,
}

impl LazyLake {
    pub fn new(project: &Project) -> Self {
        Self { project: project.clone(), lake: OnceLock::new() }
    }

    fn resolver(&self) -> Result<Arc<dyn TableResolver>> {
        if let Some(lake) = self.lake.get() {
            return Ok(lake.clone());
        }
        let p = &self.project;
        let lake = Lake::open(&p.lake, &p.connections, &p.dir, &p.state_dir)?.resolver();
        Ok(self.lake.get_or_init(|| lake).clone())
    }
}

#[async_trait]
impl TableResolver for LazyLake {
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>> {
        self.resolver()?.resolve(path).await
    }
    async fn names(&self) -> Result<Vec<Vec<String>>> {
        self.resolver()?.names().await
    }
}

/// The tables of one pipeline.
pub struct PipelineTables {
    context: BuildContext,
    lookups: Vec<LookupTable>,
    lake: LazyLake,
    batch_rows: usize,
}

impl PipelineTables {
    /// Secrets in `lookups` and `project` are resolved.
    pub fn new(context: BuildContext, lookups: Vec<LookupTable>, project: &Project, batch_rows: usize) -> Self {
        Self { context, lookups, lake: LazyLake::new(project), batch_rows }
    }
}

#[async_trait]
impl TableResolver for PipelineTables {
    async fn resolve(&self, path: &[String]) -> Result<Option<Arc<dyn TableSource>>> {
        let lookup = match path {
            [name] => self.lookups.iter().find(|t| t.name.eq_ignore_ascii_case(name)),
            _ => None,
        };
        if let Some(table) = lookup {
            let files = FileTable::of(&self.context, table, self.batch_rows).await;
            return Ok(Some(Arc::new(files.map_err(|e| e.context("table", &table.name))?)));
        }
        self.lake.resolve(path).await
    }
    async fn names(&self) -> Result<Vec<Vec<String>>> {
        let mut names: Vec<Vec<String>> = self.lookups.iter().map(|t| vec![t.name.clone()]).collect();
        names.extend(self.lake.names().await?);
        Ok(names)
    }
}

/// Files, read as one table. What they hold is found out when it is made.
pub struct FileTable {
    source: Arc<dyn Source>,
    format: Option<Arc<dyn FileFormat>>,
    splits: Vec<Split>,
    content: SchemaRef,
    schema: SchemaRef,
    batch_rows: usize,
}

/// Files looked at to find out what columns there are.
const SAMPLE: usize = 10;
const NO_LIMITS: EpochLimits = EpochLimits { files: u64::MAX, bytes: u64::MAX, rows: u64::MAX };

impl FileTable {
    async fn of(context: &BuildContext, table: &LookupTable, batch_rows: usize) -> Result<Self> {
        let source = (table.source.def.build)(context, &table.source.config)?;
        let format = match &table.format {
            None => None,
            Some(format) => Some(reader(format.def, &format.config)?),
        };
        Self::new(source, format, batch_rows).await
    }

    /// Every file that the source shows now.
    ///
    /// # Errors
    /// Those of the source and the format.
    pub async fn new(source: Arc<dyn Source>, format: Option<Arc<dyn FileFormat>>, batch_rows: usize) -> Result<Self> {
        let found = source.discover(&Checkpoint::default(), &NO_LIMITS, LaneShard::ALL, &NoHistory).await?;
        let mut sample = Vec::new();
        for split in found.splits.iter().take(SAMPLE) {
            sample.extend(source.open(split).await?.sample(SAMPLE).await?);
        }
        let content = match &format {
            Some(format) => format.infer(&sample, None).await?,
            None => Arc::new(Schema::empty()),
        };
        let schema = unite(&content, &source.constant_columns());
        Ok(Self { source, format, splits: found.splits, content, schema, batch_rows })
    }
}

/// A format's reader.
///
/// # Errors
/// `ErrorKind::Config`.
pub fn reader(def: &sluis_core::FormatDef, config: &serde_json::Value) -> Result<Arc<dyn FileFormat>> {
    let reader = def.reader.ok_or_else(|| Error::config(format!("`{}` cannot be read", def.name)))?;
    reader(config)
}

#[async_trait]
impl TableSource for FileTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    async fn scan(&self, columns: Option<&[String]>) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let wanted = match columns {
            None => None,
            Some(names) => Some(
                names
                    .iter()
                    .map(|n| self.schema.index_of(n))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|e| Error::internal("a column is not there").source(e))?,
            ),
        };
        let (source, format, schema) = (self.source.clone(), self.format.clone(), self.schema.clone());
        let options =
            ReadOptions { schema: self.content.clone(), batch_rows: self.batch_rows, threads: 1, keep_origins: false, misfits: Default::default() };
        let files = stream::iter(self.splits.clone()).then(move |split| {
            let (source, format, schema, options) = (source.clone(), format.clone(), schema.clone(), options.clone());
            async move { read(source, format, split, schema, options).await }
        });
        let batches = files.try_flatten();
        Ok(match wanted {
            None => batches.boxed(),
            Some(wanted) => batches.map(move |b| b?.project(&wanted).map_err(|e| Error::internal("columns cannot be chosen").source(e))).boxed(),
        })
    }
}

async fn read(
    source: Arc<dyn Source>,
    format: Option<Arc<dyn FileFormat>>,
    split: Split,
    schema: SchemaRef,
    options: ReadOptions,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let constants = source.constant_columns();
    let format = || format.clone().ok_or_else(|| Error::internal("files without a format"));
    let batches: BoxStream<'static, Result<RecordBatch>> = match source.open(&split).await? {
        Opened::File(file) => decoded(format()?, file, &options).await?,
        Opened::Members(members) => {
            let format = format()?;
            let next = stream::try_unfold(members, |mut members| async {
                let next = members.next().await?;
                Ok::<_, Error>(next.map(|member| (member, members)))
            });
            let rows = next.and_then(move |member| {
                let (format, options, constants, schema) = (format.clone(), options.clone(), constants.clone(), schema.clone());
                async move {
                    let rows = decoded(format, member.file, &options).await?;
                    Ok(rows.map(move |batch| whole(&batch?, &constants, &member.constants, &schema)))
                }
            });
            return Ok(rows.try_flatten().boxed());
        }
        Opened::Rows(rows) => rows.map(|r| r.map(|(batch, _)| batch)).boxed(),
    };
    Ok(batches.map(move |batch| whole(&batch?, &constants, &split.constants, &schema)).boxed())
}

async fn decoded(format: Arc<dyn FileFormat>, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let path = file.version().path.clone();
    let decoded = format.read(file, options).await?;
    let batches = decoded.map(move |d| {
        let d = d?;
        match d.rejects.first() {
            None => Ok(d.batch),
            Some(reject) => Err(Error::new(ErrorKind::Data, format!("a row of a look-up table cannot be read: {}", reject.message))
                .context("line", reject.line)
                .context("file", &path)
                .hint("look-ups must be complete: correct the file, or declare the column's type")),
        }
    });
    Ok(batches.boxed())
}

/// A file's rows with its constants, as columns of the table.
fn whole(batch: &RecordBatch, constants: &SchemaRef, values: &BTreeMap<String, String>, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    // What the sample did not show is left out: it cannot be asked for.
    let keep: Vec<usize> = (0..batch.num_columns()).filter(|i| schema.index_of(batch.schema_ref().field(*i).name()).is_ok()).collect();
    let batch = batch.project(&keep).map_err(|e| Error::internal("columns cannot be chosen").source(e))?;
    let mut fields: Vec<_> = batch.schema_ref().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    for field in constants.fields().iter().filter(|f| batch.schema_ref().index_of(f.name()).is_err()) {
        columns.push(constant(values.get(field.name()).map(String::as_str), field.data_type(), rows)?);
        fields.push(field.clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let all = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|e| Error::internal("constants do not fit their columns").source(e))?;
    align(&all, schema, sluis_formats::cast_column)
}

fn constant(text: Option<&str>, to: &DataType, rows: usize) -> Result<ArrayRef> {
    let Some(text) = text else { return Ok(new_null_array(to, rows)) };
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)));
    arrow_cast::cast(&texts, to).map_err(|e| Error::internal(format!("`{text}` is no {to}")).source(e))
}

/// A history without files: everything is new.
pub struct NoHistory;

#[async_trait]
impl FileHistory for NoHistory {
    async fn lookup(&self, paths: &[String]) -> Result<Vec<Option<KnownFile>>> {
        Ok(vec![None; paths.len()])
    }
    async fn is_first_run(&self) -> Result<bool> {
        Ok(true)
    }
}
