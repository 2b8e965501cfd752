//! Kerberos and SASL for clients of Hadoop's services (HiveServer2, Impala, the Hive Metastore).
//!
//! - [`Kerberos`]: a login from a keytab (renewed in this process) or from a ticket cache, through the system's GSSAPI. The library is loaded when a
//!   login is asked for, never before; a machine without it gets an error of [`Kind::LibraryMissing`] then.
//! - [`SaslMechanism`]: [`Gssapi`] (`auth`, `auth-int`, `auth-conf`), [`Plain`], [`DigestMd5`] (for delegation tokens).
//! - [`SaslStream`]: Thrift's SASL negotiation and frames on any byte stream, itself a byte stream.
//! - [`Negotiate`]: SPNEGO tokens for HTTP.
//!
//! ```no_run
//! # async fn example() -> hadoop_auth::Result<()> {
//! use hadoop_auth::{Gssapi, Kerberos, Qop, SaslStream};
//!
//! let login = Kerberos::keytab("loader@EXAMPLE.ORG", "loader.keytab")?;
//! let mechanism = Gssapi::new(&login, "hive/_HOST@EXAMPLE.ORG", "db1.example.org", &[Qop::AuthConf])?;
//! let (socket, _server) = tokio::io::duplex(64);
//! let stream = SaslStream::negotiate(socket, Box::new(mechanism)).await?;
//! # Ok(()) }
//! ```
//!
//! Deliberately not here: sockets, TLS, time limits. They are the caller's.

#![deny(unsafe_code)]

pub mod acceptor;
mod digest_md5;
mod error;
mod gss;
mod gssapi;
mod kerberos;
mod mechanism;
mod negotiate;
mod plain;
mod thrift_sasl;

pub use digest_md5::DigestMd5;
pub use error::{Error, Kind, Result};
pub use gssapi::Gssapi;
pub use kerberos::{Identity, Kerberos, principal_for_host};
pub use mechanism::{Qop, SaslMechanism};
pub use negotiate::Negotiate;
pub use plain::Plain;
pub use thrift_sasl::SaslStream;
