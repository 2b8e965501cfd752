//! sluis-testkit
