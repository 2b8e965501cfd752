//! sluis-config
mod diagnostic;
mod reference;
mod secret;
mod span;
mod suggest;
mod variables;
mod yaml;
