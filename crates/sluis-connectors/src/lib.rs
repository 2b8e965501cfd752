//! sluis-connectors
