//! MinIO: a real S3 server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::{Service, binary, free_port, http};

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/services/certificates");

/// A MinIO server with an empty folder.
pub struct MinIo {
    /// `http://127.0.0.1:port`, or `https://localhost:port` with certificates.
    pub endpoint: String,
    pub access: String,
    pub secret: String,
    address: String,
    folder: PathBuf,
    _service: Service,
}

impl MinIo {
    /// Starts one of your own (to stop it in mid-test, for example) and waits until it answers.
    ///
    /// # Panics
    /// If the program is missing or does not come up within a minute.
    pub fn start() -> MinIo {
        Self::start_with(None)
    }

    /// The same over TLS, with a certificate for `localhost` that only [`MinIo::ca_file`] vouches for.
    ///
    /// # Panics
    /// As [`MinIo::start`].
    pub fn start_tls() -> MinIo {
        Self::start_with(Some(Path::new(CERTIFICATES)))
    }

    /// The authority that signed the certificate of [`MinIo::start_tls`]. Its own key was thrown away; the server's is in this
    /// repository, for tests only.
    pub fn ca_file() -> PathBuf {
        Path::new(CERTIFICATES).join("ca.crt")
    }

    /// The one that all tests of this process share. Use a bucket of your own: [`MinIo::bucket`].
    pub fn shared() -> &'static MinIo {
        static SHARED: OnceLock<MinIo> = OnceLock::new();
        SHARED.get_or_init(MinIo::start)
    }

    fn start_with(certificates: Option<&Path>) -> MinIo {
        let program = binary("minio");
        // The port may be taken between looking and binding: try others.
        for _ in 0..5 {
            if let Some(up) = Self::try_start(&program, certificates) {
                return up;
            }
        }
        panic!("MinIO does not come up; start it by hand to see why: {} server /tmp/somewhere", program.display());
    }

    fn try_start(program: &Path, certificates: Option<&Path>) -> Option<MinIo> {
        let folder = tempfile::Builder::new().prefix("sluis-minio-").tempdir().expect("a folder").keep();
        let certs = folder.join("certs");
        std::fs::create_dir_all(certs.join("CAs")).expect("a folder");
        if let Some(from) = certificates {
            for name in ["public.crt", "private.key"] {
                std::fs::copy(from.join(name), certs.join(name)).expect("a certificate");
            }
        }
        let address = format!("127.0.0.1:{}", free_port());
        let (access, secret) = ("sluis-test", "sluis-test-secret");
        let mut command = Command::new(program);
        command.arg("server").arg("--certs-dir").arg(&certs).arg("--address").arg(&address).arg(folder.join("data"));
        command.env("MINIO_ROOT_USER", access).env("MINIO_ROOT_PASSWORD", secret);
        command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("HOME", &folder);
        let service = Service::start(&mut command, &folder);
        let endpoint = match certificates {
            Some(_) => format!("https://localhost:{}", address.rsplit(':').next().unwrap_or_default()),
            None => format!("http://{address}"),
        };
        let up = MinIo { endpoint, access: access.into(), secret: secret.into(), address, folder, _service: service };
        up.wait(certificates.is_some()).then_some(up)
    }

    fn wait(&self, tls: bool) -> bool {
        let head = format!("GET /minio/health/ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let end = Instant::now() + Duration::from_secs(60);
        let dead = || {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            log.contains("FATAL") || log.contains("already in use")
        };
        while Instant::now() < end && !dead() {
            // Over TLS, an answer in plain text (400) says that it listens.
            if http(&self.address, &head, b"").is_ok_and(|(status, _)| status == 200 || (tls && status == 400)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20)); // polls
        }
        false
    }

    /// Makes a bucket that no other test uses, and gives its name. `hint`: lower-case letters, digits, `-`.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn bucket(&self, hint: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{hint}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if self.endpoint.starts_with("https:") {
            // One drive: a bucket is a folder of it.
            std::fs::create_dir(self.folder.join("data").join(&name)).expect("a bucket");
            return name;
        }
        // It says that it is ready a little before it is.
        let end = Instant::now() + Duration::from_secs(60);
        let (status, body) = loop {
            let (status, body) = self.request("PUT", &format!("/{name}"), b"");
            if status != 503 || Instant::now() > end {
                break (status, body);
            }
            std::thread::sleep(Duration::from_millis(20)); // polls
        };
        assert_eq!(status, 200, "cannot make the bucket {name}: {body}");
        name
    }

    /// A signed request, for what tests want to see past our own client: status and body. Plain HTTP only.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn request(&self, method: &str, path_and_query: &str, body: &[u8]) -> (u16, String) {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_vec()));
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = format!("{}{path_and_query}", self.endpoint).parse().expect("a URL");
        let credential = AwsCredential { key_id: self.access.clone(), secret_key: self.secret.clone(), token: None };
        AwsAuthorizer::new(&credential, "s3", "us-east-1").authorize(&mut request, None);
        let mut head = format!("{method} {path_and_query} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().expect("a header"));
        }
        http(&self.address, &(head + "\r\n"), body).expect("an answer")
    }

    /// Multipart uploads begun and neither completed nor aborted, of one key.
    pub fn open_uploads(&self, bucket: &str, key: &str) -> usize {
        let (status, body) = self.request("GET", &format!("/{bucket}?prefix={}&uploads=", key.replace('/', "%2F")), b"");
        assert_eq!(status, 200, "{body}");
        body.matches("<Upload>").count()
    }

    /// A connection of a project to this server: `{"s3": {…}}`.
    pub fn connection(&self) -> serde_json::Value {
        serde_json::json!({ "s3": { "endpoint": self.endpoint, "access_key": self.access, "secret_key": self.secret } })
    }
}
