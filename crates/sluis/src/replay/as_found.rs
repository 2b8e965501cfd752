//! CSV with `delimiter: auto` over the spool: each file in the dialect that was found in its original, for a few bad rows look like anything.
//!
//! Deliberately not here: finding it (`above`).

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::Value;
use sluis_config::FormatPart;
use sluis_core::{Decoded, FileFormat, FormatDef, RawFile, ReadOptions, Result};

use super::place::Places;
use crate::tables::reader;

/// The format of a spool.
pub struct AsFound {
    plain: Arc<dyn FileFormat>,
    def: &'static FormatDef,
    config: Value,
    places: Arc<Places>,
}

impl AsFound {
    /// `plain`: for files of which nothing was found.
    pub fn new(plain: Arc<dyn FileFormat>, format: &FormatPart, places: Arc<Places>) -> Self {
        Self { plain, def: format.def, config: format.config.clone(), places }
    }

    fn of(&self, file: &Arc<dyn RawFile>) -> Result<Arc<dyn FileFormat>> {
        let Some(Value::Object(found)) = self.places.dialect(&file.version().path)? else { return Ok(self.plain.clone()) };
        let mut config = self.config.clone();
        for (key, value) in found {
            config[key] = value;
        }
        reader(self.def, &config)
    }
}

#[async_trait]
impl FileFormat for AsFound {
    fn name(&self) -> &'static str {
        self.plain.name()
    }
    fn rescues(&self) -> bool {
        self.plain.rescues()
    }
    async fn infer(&self, sample: &[Arc<dyn RawFile>], known: Option<&SchemaRef>) -> Result<SchemaRef> {
        let mut all = known.cloned();
        for file in sample {
            all = Some(self.of(file)?.infer(std::slice::from_ref(file), all.as_ref()).await?);
        }
        match all {
            Some(all) => Ok(all),
            None => Ok(Arc::new(Schema::empty())),
        }
    }
    async fn read(&self, file: Arc<dyn RawFile>, options: &ReadOptions) -> Result<BoxStream<'static, Result<Decoded>>> {
        self.of(&file)?.read(file, options).await
    }
}
