//! The system's GSSAPI (MIT Kerberos), loaded by `dlopen` when first asked for. **All unsafe code of this crate is in this file.**
//!
//! Why each call is sound:
//! - The types below are those of MIT's `gssapi.h` and `gssapi_ext.h` on Linux (structures are not packed there); `OM_uint32` is `u32`.
//! - The library is never unloaded, so its functions live as long as the process.
//! - Names, credentials and contexts are pointers that only their owner here frees, once, in `Drop`. MIT's library is thread-safe; a context is
//!   used by one thread at a time, which `&mut` holds.
//! - What goes in is borrowed for the time of the call only: GSSAPI copies. What comes out in a buffer is copied and the buffer released.
//!
//! Errors carry the library's own words for the status, and a class by the Kerberos error code.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use crate::{Error, Kind, Result};

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

#[repr(C)]
struct Oid {
    length: u32,
    elements: *const c_void,
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *const Oid,
}

#[repr(C)]
struct Pair {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct Store {
    count: u32,
    elements: *const Pair,
}

/// `gss_name_t`, `gss_cred_id_t`, `gss_ctx_id_t`: what they point to is the library's.
type Handle = *mut c_void;

macro_rules! functions {
    ($($name:ident($($argument:ty),* $(,)?);)*) => {
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) -> u32,)* }

        impl Functions {
            fn of(library: Handle) -> Result<Functions> {
                Ok(Functions { $($name: {
                    let symbol = symbol(library, concat!(stringify!($name), "\0"))?;
                    // SAFETY: the symbol of this name has this signature in `gssapi.h`; see the head of this file.
                    unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> u32>(symbol) }
                },)* })
            }
        }
    };
}

functions! {
    gss_import_name(*mut u32, *const Buffer, *const Oid, *mut Handle);
    gss_display_name(*mut u32, Handle, *mut Buffer, *mut *const Oid);
    gss_release_name(*mut u32, *mut Handle);
    gss_acquire_cred_from(*mut u32, Handle, u32, *const OidSet, c_int, *const Store, *mut Handle, *mut *const OidSet, *mut u32);
    gss_inquire_cred(*mut u32, Handle, *mut Handle, *mut u32, *mut c_int, *mut *const OidSet);
    gss_release_cred(*mut u32, *mut Handle);
    gss_init_sec_context(
        *mut u32, Handle, *mut Handle, Handle, *const Oid, u32, u32, *const c_void, *const Buffer, *mut *const Oid, *mut Buffer, *mut u32, *mut u32,
    );
    gss_accept_sec_context(
        *mut u32, *mut Handle, Handle, *const Buffer, *const c_void, *mut Handle, *mut *const Oid, *mut Buffer, *mut u32, *mut u32, *mut Handle,
    );
    gss_delete_sec_context(*mut u32, *mut Handle, *mut Buffer);
    gss_wrap(*mut u32, Handle, c_int, u32, *const Buffer, *mut c_int, *mut Buffer);
    gss_unwrap(*mut u32, Handle, *const Buffer, *mut Buffer, *mut c_int, *mut u32);
    gss_wrap_size_limit(*mut u32, Handle, c_int, u32, u32, *mut u32);
    gss_display_status(*mut u32, u32, c_int, *const Oid, *mut u32, *mut Buffer);
    gss_release_buffer(*mut u32, *mut Buffer);
}

/// What the library is called where it is installed.
const LIBRARY: &CStr = c"libgssapi_krb5.so.2";

const KRB5: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
const SPNEGO: &[u8] = b"\x2b\x06\x01\x05\x05\x02";
/// `GSS_KRB5_NT_PRINCIPAL_NAME`.
const PRINCIPAL: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";
/// `GSS_C_NT_HOSTBASED_SERVICE`: the realm is found by krb5.conf.
const HOST_SERVICE: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04";

const CONTINUE_NEEDED: u32 = 1;
const MUTUAL: u32 = 2;
const REPLAY: u32 = 4;
const SEQUENCE: u32 = 8;
pub(crate) const CONFIDENTIAL: u32 = 16;
pub(crate) const INTEGRITY: u32 = 32;

fn symbol(library: Handle, name: &str) -> Result<*mut c_void> {
    // SAFETY: `name` ends with NUL (the macro above); the handle is of a `dlopen` that went well.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr().cast()) };
    if symbol.is_null() {
        let text = format!("the GSSAPI library has no {}: it is not MIT Kerberos 1.11 or newer", name.trim_end_matches('\0'));
        return Err(Error::new(Kind::LibraryMissing, text));
    }
    Ok(symbol)
}

fn open(name: &CStr) -> Result<Functions> {
    // SAFETY: `name` is a C string. Loading runs the library's own initialisers, as linking to it would.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        // SAFETY: `dlerror` gives NULL, or a C string that lives until this thread's next call.
        let why = unsafe {
            let text = libc::dlerror();
            if text.is_null() { "no reason given".to_owned() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        return Err(Error::new(
            Kind::LibraryMissing,
            format!("Kerberos needs the library {}, which cannot be loaded: {why}", name.to_string_lossy()),
        ));
    }
    Functions::of(library)
}

fn functions() -> Result<&'static Functions> {
    static LOADED: OnceLock<Result<Functions>> = OnceLock::new();
    LOADED.get_or_init(|| open(LIBRARY)).as_ref().map_err(Clone::clone)
}

fn oid(bytes: &'static [u8]) -> Oid {
    Oid { length: bytes.len() as u32, elements: bytes.as_ptr().cast() }
}

fn borrowed(bytes: &[u8]) -> Buffer {
    Buffer { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
}

fn empty() -> Buffer {
    Buffer { length: 0, value: ptr::null_mut() }
}

/// The bytes of a buffer that the library filled; the buffer is released.
fn taken(functions: &Functions, mut buffer: Buffer) -> Vec<u8> {
    if buffer.value.is_null() {
        return Vec::new();
    }
    let mut minor = 0;
    // SAFETY: the library says that `length` bytes lie at `value`; they are copied before they are released.
    unsafe {
        let bytes = std::slice::from_raw_parts(buffer.value.cast::<u8>(), buffer.length).to_vec();
        (functions.gss_release_buffer)(&raw mut minor, &raw mut buffer);
        bytes
    }
}

/// A mechanism of GSSAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Krb5,
    Spnego,
}

impl Mechanism {
    fn oid(self) -> Oid {
        oid(match self {
            Mechanism::Krb5 => KRB5,
            Mechanism::Spnego => SPNEGO,
        })
    }
}

/// Whether a status is an error; what else it may say lies in its lower 16 bits.
fn failed(major: u32) -> bool {
    major & 0xffff_0000 != 0
}

fn error(functions: &Functions, major: u32, minor: u32) -> Error {
    let mut parts: Vec<String> = Vec::new();
    for (code, of_mechanism) in [(major, 1), (minor, 2)].into_iter().filter(|(code, _)| *code != 0) {
        let mut more = 0;
        loop {
            let (mut ignored, mut text, mechanism) = (0, empty(), oid(KRB5));
            // SAFETY: all pointers are to locals of this turn.
            let status =
                unsafe { (functions.gss_display_status)(&raw mut ignored, code, of_mechanism, &raw const mechanism, &raw mut more, &raw mut text) };
            let text = String::from_utf8_lossy(&taken(functions, text)).trim().to_owned();
            if !failed(status) && !text.is_empty() && !parts.contains(&text) {
                parts.push(text);
            }
            if failed(status) || more == 0 {
                break;
            }
        }
    }
    // "Unspecified GSS failure" and "No credentials were supplied, or …" say nothing where there is a minor code.
    if parts.len() > 1 && matches!((major >> 16) & 0xff, 7 | 13) {
        parts.remove(0);
    }
    Error::new(kind(major, minor), parts.join(": "))
}

/// The class of a failure, by Kerberos's codes (`krb5_err.et`: the first is -1765328384).
fn kind(major: u32, minor: u32) -> Kind {
    match i64::from(minor as i32) + 1_765_328_384 {
        // KDC_ERR_NAME_EXP, SERVICE_EXP, KEY_EXP; AP_ERR_TKT_EXPIRED.
        1 | 2 | 23 | 32 => Kind::Expired,
        6 => Kind::UnknownClient,
        7 => Kind::UnknownService,
        // CLIENT_REVOKED, PREAUTH_FAILED, AP_ERR_BAD_INTEGRITY; KRB5_PREAUTH_FAILED.
        18 | 24 | 31 | 210 => Kind::Refused,
        // AP_ERR_SKEW, KDCREP_SKEW.
        37 | 148 => Kind::ClockSkew,
        // KRB5_REALM_UNKNOWN, KRB5_KDC_UNREACH, KRB5_REALM_CANT_RESOLVE.
        154 | 156 | 220 => Kind::KdcUnreachable,
        // KRB5_CC_NOTFOUND, KRB5_FCC_NOFILE.
        141 | 195 => Kind::NoTicket,
        // KRB5_KT_NOTFOUND.
        181 => Kind::Keytab,
        _ => match (major >> 16) & 0xff {
            6 => Kind::Integrity,
            7 => Kind::NoTicket,
            9 => Kind::Protocol,
            11 | 12 => Kind::Expired,
            _ => Kind::Other,
        },
    }
}

/// A principal.
pub(crate) struct Name(Handle, &'static Functions);

// SAFETY: the library's names may be used by any thread, one at a time (`&`-calls only read them).
unsafe impl Send for Name {}
// SAFETY: as above.
unsafe impl Sync for Name {}

impl Name {
    /// `service/host@REALM`, or `service/host`, whose realm is the one that krb5.conf has for the host.
    pub(crate) fn of_service(text: &str) -> Result<Name> {
        match (text.split_once('/'), text.contains('@')) {
            (Some((service, host)), false) => Self::import(&format!("{service}@{host}"), HOST_SERVICE),
            _ => Self::of_client(text),
        }
    }

    /// `user@REALM`, `service/host@REALM`, or either without a realm: it is the default one then.
    pub(crate) fn of_client(text: &str) -> Result<Name> {
        Self::import(text, PRINCIPAL)
    }

    fn import(text: &str, kind: &'static [u8]) -> Result<Name> {
        let functions = functions()?;
        let (mut minor, mut name, kind, buffer) = (0, ptr::null_mut(), oid(kind), borrowed(text.as_bytes()));
        // SAFETY: all pointers are to locals that live for the call.
        let major = unsafe { (functions.gss_import_name)(&raw mut minor, &raw const buffer, &raw const kind, &raw mut name) };
        if failed(major) {
            return Err(error(functions, major, minor).while_doing(format_args!("the principal {text:?} cannot be read")));
        }
        Ok(Name(name, functions))
    }

    fn text(&self) -> Result<String> {
        let (mut minor, mut buffer) = (0, empty());
        // SAFETY: the name lives as long as `self`; the other pointers are to locals, NULL is "not asked for".
        let major = unsafe { (self.1.gss_display_name)(&raw mut minor, self.0, &raw mut buffer, ptr::null_mut()) };
        if failed(major) {
            return Err(error(self.1, major, minor));
        }
        Ok(String::from_utf8_lossy(&taken(self.1, buffer)).into_owned())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: freed once, here.
        unsafe { (self.1.gss_release_name)(&raw mut minor, &raw mut self.0) };
    }
}

/// Who is logging in, or whom to accept as.
pub(crate) struct Credential(Handle, &'static Functions);

// SAFETY: MIT's credentials carry a lock of their own; calls from several threads are allowed.
unsafe impl Send for Credential {}
// SAFETY: as above.
unsafe impl Sync for Credential {}

impl Credential {
    /// `store`: MIT's keys for where to look (`client_keytab`, `keytab`, `ccache`); an empty one is the process's default.
    pub(crate) fn acquire(name: Option<&Name>, mechanism: Mechanism, accept: bool, store: &[(&CStr, &str)]) -> Result<Credential> {
        let functions = functions()?;
        let values: Vec<CString> = store
            .iter()
            .map(|(key, value)| CString::new(*value).map_err(|_| Error::protocol(format!("{key:?} has a NUL byte: {value:?}"))))
            .collect::<Result<_>>()?;
        let pairs: Vec<Pair> = store.iter().zip(&values).map(|((key, _), value)| Pair { key: key.as_ptr(), value: value.as_ptr() }).collect();
        let store = Store { count: pairs.len() as u32, elements: pairs.as_ptr() };
        let mechanism = mechanism.oid();
        let mechanisms = OidSet { count: 1, elements: &raw const mechanism };
        // GSS_C_ACCEPT and GSS_C_INITIATE.
        let usage = if accept { 2 } else { 1 };
        let (mut minor, mut credential) = (0, ptr::null_mut());
        // SAFETY: `values`, `pairs` and `mechanism` outlive the call; NULL stands for the default store, and for what is not asked for.
        let major = unsafe {
            (functions.gss_acquire_cred_from)(
                &raw mut minor,
                name.map_or(ptr::null_mut(), |n| n.0),
                u32::MAX,
                &raw const mechanisms,
                usage,
                if pairs.is_empty() { ptr::null() } else { &raw const store },
                &raw mut credential,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if failed(major) {
            return Err(error(functions, major, minor));
        }
        Ok(Credential(credential, functions))
    }

    /// The principal, and for how many seconds its ticket is good. This is where a lazy login happens.
    pub(crate) fn inquire(&self) -> Result<(String, u32)> {
        let (mut minor, mut name, mut seconds) = (0, ptr::null_mut(), 0);
        // SAFETY: the credential lives as long as `self`; NULL is "not asked for".
        let major = unsafe { (self.1.gss_inquire_cred)(&raw mut minor, self.0, &raw mut name, &raw mut seconds, ptr::null_mut(), ptr::null_mut()) };
        if failed(major) {
            return Err(error(self.1, major, minor));
        }
        Ok((Name(name, self.1).text()?, seconds))
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: freed once, here.
        unsafe { (self.1.gss_release_cred)(&raw mut minor, &raw mut self.0) };
    }
}

/// One side of a login, and afterwards the keys of the session.
pub(crate) struct Context {
    handle: Handle,
    functions: &'static Functions,
    flags: u32,
    done: bool,
}

// SAFETY: a context may move between threads; `&mut` keeps it to one at a time.
unsafe impl Send for Context {}

impl Context {
    pub(crate) fn new() -> Result<Context> {
        Ok(Context { handle: ptr::null_mut(), functions: functions()?, flags: 0, done: false })
    }

    /// Whether both sides know each other.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// What the session can do: [`INTEGRITY`], [`CONFIDENTIAL`].
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// The client's next token, after the server's (`None` at first).
    pub(crate) fn initiate(
        &mut self,
        credential: &Credential,
        target: &Name,
        mechanism: Mechanism,
        flags: u32,
        token: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let (mut minor, mut out, mechanism) = (0, empty(), mechanism.oid());
        let input = token.map_or_else(empty, borrowed);
        // SAFETY: `handle` is NULL at first and then the library's own; the rest is borrowed for the call, NULL is "none" or "not asked for".
        let major = unsafe {
            (self.functions.gss_init_sec_context)(
                &raw mut minor,
                credential.0,
                &raw mut self.handle,
                target.0,
                &raw const mechanism,
                MUTUAL | REPLAY | SEQUENCE | flags,
                0,
                ptr::null(),
                &raw const input,
                ptr::null_mut(),
                &raw mut out,
                &raw mut self.flags,
                ptr::null_mut(),
            )
        };
        self.after(major, minor, out)
    }

    /// The server's next token, after the client's, and whose it is.
    pub(crate) fn accept(&mut self, credential: &Credential, token: &[u8]) -> Result<(Vec<u8>, String)> {
        let (mut minor, mut out, mut client) = (0, empty(), ptr::null_mut());
        let input = borrowed(token);
        // SAFETY: as in `initiate`.
        let major = unsafe {
            (self.functions.gss_accept_sec_context)(
                &raw mut minor,
                &raw mut self.handle,
                credential.0,
                &raw const input,
                ptr::null(),
                &raw mut client,
                ptr::null_mut(),
                &raw mut out,
                &raw mut self.flags,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        let client = (!client.is_null()).then(|| Name(client, self.functions));
        let out = self.after(major, minor, out)?;
        Ok((out, client.map(|c| c.text()).transpose()?.unwrap_or_default()))
    }

    fn after(&mut self, major: u32, minor: u32, out: Buffer) -> Result<Vec<u8>> {
        let out = taken(self.functions, out);
        if failed(major) {
            return Err(error(self.functions, major, minor));
        }
        self.done = major & CONTINUE_NEEDED == 0;
        Ok(out)
    }

    /// `confidential`: encrypted, else only signed.
    pub(crate) fn wrap(&mut self, plain: &[u8], confidential: bool) -> Result<Vec<u8>> {
        let (mut minor, mut out, mut encrypted) = (0, empty(), 0);
        let input = borrowed(plain);
        self.established()?;
        // SAFETY: the context is established; all other pointers are to locals.
        let major = unsafe {
            (self.functions.gss_wrap)(&raw mut minor, self.handle, c_int::from(confidential), 0, &raw const input, &raw mut encrypted, &raw mut out)
        };
        let out = taken(self.functions, out);
        if failed(major) {
            return Err(error(self.functions, major, minor));
        }
        if confidential && encrypted == 0 {
            return Err(Error::new(Kind::NoCommonProtection, "this session of Kerberos cannot encrypt"));
        }
        Ok(out)
    }

    /// The bytes, and whether they were encrypted. Repeated, lost and reordered messages are errors.
    pub(crate) fn unwrap(&mut self, wrapped: &[u8]) -> Result<(Vec<u8>, bool)> {
        let (mut minor, mut out, mut encrypted) = (0, empty(), 0);
        let input = borrowed(wrapped);
        self.established()?;
        // SAFETY: as in `wrap`.
        let major =
            unsafe { (self.functions.gss_unwrap)(&raw mut minor, self.handle, &raw const input, &raw mut out, &raw mut encrypted, ptr::null_mut()) };
        let out = taken(self.functions, out);
        if failed(major) {
            let found = error(self.functions, major, minor);
            return Err(Error::new(Kind::Integrity, format!("a protected message cannot be read: {found}")));
        }
        if major != 0 {
            return Err(Error::new(Kind::Integrity, "a protected message came twice, late or out of order"));
        }
        Ok((out, encrypted != 0))
    }

    /// How many bytes may go into one [`Context::wrap`] for a result of at most `limit` bytes.
    pub(crate) fn max_plain(&self, limit: u32, confidential: bool) -> Result<u32> {
        let (mut minor, mut size) = (0, 0);
        self.established()?;
        // SAFETY: as in `wrap`.
        let major = unsafe { (self.functions.gss_wrap_size_limit)(&raw mut minor, self.handle, c_int::from(confidential), 0, limit, &raw mut size) };
        if failed(major) {
            return Err(error(self.functions, major, minor));
        }
        Ok(size)
    }

    fn established(&self) -> Result<()> {
        if self.done && !self.handle.is_null() { Ok(()) } else { Err(Error::protocol("the login is not complete")) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut minor = 0;
        if !self.handle.is_null() {
            // SAFETY: freed once, here; NULL: no token for the other side is asked for.
            unsafe { (self.functions.gss_delete_sec_context)(&raw mut minor, &raw mut self.handle, ptr::null_mut()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_said_by_name_and_with_a_way_out() {
        let error = open(c"libgssapi_nowhere.so.9").err().expect("no such library");
        assert_eq!(error.kind(), Kind::LibraryMissing);
        let text = error.to_string();
        assert!(text.contains("libgssapi_nowhere.so.9") && text.contains("libgssapi-krb5-2"), "{text}");
        // A library that is none of GSSAPI's.
        let error = open(c"libc.so.6").err().expect("no GSSAPI");
        assert!(error.to_string().contains("gss_import_name"), "{error}");
    }
}
