//! sluis-formats
