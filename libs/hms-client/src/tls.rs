//! TLS configurations.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::{Error, Kind, Result};

/// Trusts the authorities of a PEM file only.
///
/// # Errors
/// [`Kind::Login`] if the file cannot be read or holds no certificate.
pub fn with_ca(path: &Path) -> Result<Arc<ClientConfig>> {
    let bad = |e: &dyn std::fmt::Display| Error::new(Kind::Login, format!("the CA file {} cannot be used: {e}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
        roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    if roots.is_empty() {
        return Err(bad(&"it has no certificate"));
    }
    config(roots)
}

/// Trusts the authorities of this machine.
///
/// # Errors
/// [`Kind::Login`] if there are none.
pub fn system() -> Result<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(Error::new(Kind::Login, format!("this machine has no certificate authorities: {why}")));
    }
    config(roots)
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| Error::new(Kind::Login, format!("TLS cannot be set up: {e}")))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
