//! sluis-engine
