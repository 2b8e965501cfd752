//! sluis-sql
