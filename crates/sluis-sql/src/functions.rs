//! The functions that SQL may call.
//!
//! Made once for the process, when the first statement is looked at: it costs about a millisecond.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, Volatility, WindowUDF};

/// All of them, by lower-case name and alias.
pub(crate) struct Functions {
    pub scalar: HashMap<String, Arc<ScalarUDF>>,
    pub aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub window: HashMap<String, Arc<WindowUDF>>,
    pub planners: Vec<Arc<dyn ExprPlanner>>,
}

/// What a function is, as far as the rules for statements care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionKind {
    /// Its result depends on its arguments alone.
    Row,
    /// Its result depends on the clock or on chance.
    Volatile,
    Aggregate,
    Window,
    Unknown,
}

static ALL: LazyLock<Functions> = LazyLock::new(|| {
    fn named<T>(all: Vec<Arc<T>>, names: impl Fn(&T) -> (String, Vec<String>)) -> HashMap<String, Arc<T>> {
        let mut out = HashMap::with_capacity(all.len() * 2);
        for f in all {
            let (name, aliases) = names(&f);
            for name in aliases.into_iter().chain([name]) {
                out.insert(name, Arc::clone(&f));
            }
        }
        out
    }
    Functions {
        scalar: named(SessionStateDefaults::default_scalar_functions(), |f| (f.name().to_owned(), f.aliases().to_vec())),
        aggregate: named(SessionStateDefaults::default_aggregate_functions(), |f| (f.name().to_lowercase(), f.aliases().to_vec())),
        window: named(SessionStateDefaults::default_window_functions(), |f| (f.name().to_lowercase(), f.aliases().to_vec())),
        planners: SessionStateDefaults::default_expr_planners(),
    }
});

/// All functions.
pub(crate) fn all() -> &'static Functions {
    &ALL
}

impl Functions {
    /// What a name (in lower case) stands for, without an OVER clause.
    pub fn kind(&self, name: &str) -> FunctionKind {
        // Written like functions, planned as expressions.
        const SPECIAL: [&str; 3] = ["unnest", "grouping", "struct"];
        if let Some(f) = self.scalar.get(name) {
            return if f.signature().volatility == Volatility::Immutable { FunctionKind::Row } else { FunctionKind::Volatile };
        }
        if self.aggregate.contains_key(name) || name == "grouping" {
            return FunctionKind::Aggregate;
        }
        if self.window.contains_key(name) {
            return FunctionKind::Window;
        }
        if SPECIAL.contains(&name) { FunctionKind::Row } else { FunctionKind::Unknown }
    }

    /// Every name there is.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.scalar.keys().chain(self.aggregate.keys()).chain(self.window.keys()).map(String::as_str)
    }
}
