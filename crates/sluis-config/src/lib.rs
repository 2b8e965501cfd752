//! sluis-config
