//! sluis-lake
