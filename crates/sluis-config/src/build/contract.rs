//! `contract`: what happens when files change.
//!
//! Deliberately not here: the words themselves (`sluis_core::contract`).

use sluis_core::contract::RESCUED;
use sluis_core::{Contract, OnDrift};

use super::Builder;
use crate::diagnostic::Diagnostic;
use crate::pipeline::{FormatPart, SourcePart};
use crate::spec::{ContractSpec, EachContract};
use crate::yaml::Node;

impl Builder<'_, '_> {
    pub(super) fn contract(&mut self, node: &Node) -> Contract {
        match self.spec::<ContractSpec>(node, "contract", "ContractSpec") {
            None => Contract::default(),
            Some(ContractSpec::Both(word)) => Contract { columns: word, types: word },
            Some(ContractSpec::Each(EachContract { columns, types })) => {
                Contract { columns: columns.unwrap_or_default(), types: types.unwrap_or_default() }
            }
        }
    }

    /// A contract that can never come to bear (unless it is the project's, for whom it may), and a column that would be there twice. The
    /// contract as it is then.
    pub(super) fn contract_combinations(&mut self, node: &Node, contract: Contract, source: &SourcePart, format: Option<&FormatPart>) -> Contract {
        let clash = |format: &FormatPart| {
            (source.def.constant_columns)(&source.config).field_with_name(RESCUED).is_ok()
                || (format.def.declared_columns)(&format.config).is_some_and(|c| c.field_with_name(RESCUED).is_ok())
        };
        let twice = || Diagnostic::error("cannot-combine", format!("`rescue` adds a column `{RESCUED}`, and there is one of that name"));
        if let Some(format) = format.filter(|f| !contract.rescues() && f.rescues() && clash(f)) {
            self.report(twice().at(&format.span.first_line()).help("give the other column another name"), "from");
        }
        let Some(entry) = node.entry("contract") else { return contract };
        let own = entry.value.span.file().path() == source.span.file().path();
        let at = entry.value.span.first_line();
        let said = |key: &str| match entry.value.get(key) {
            Some(value) => value.span.first_line(),
            None => at.clone(),
        };
        if contract == Contract::default() {
            return contract;
        }
        let Some(format) = format else { return contract };
        if format.def.name == "raw" && !own {
            return Contract::default();
        }
        if format.def.name == "raw" {
            let d = Diagnostic::error("cannot-combine", "`raw` has one column of bytes, which never changes: a contract has no meaning beside it");
            self.report(d.at(&at).also(&format.span, "the format").help("remove `contract`"), "contract");
            return contract;
        }
        if own && contract.types != OnDrift::Evolve && format.config["columns"] == "string" {
            let message = format!("with `columns: string` every value is text, so `types: {}` never comes to bear", contract.types.word());
            let d = Diagnostic::error("cannot-combine", message).at(&said("types")).also(&format.span, "every column is text");
            self.report(d.help("leave `types` out, or declare the columns' types"), "contract");
        }
        if contract.rescues() && clash(format) {
            self.report(twice().at(&at).help("give the other column another name"), "contract");
        }
        contract
    }
}
