//! The few XML answers and bodies of the S3 and STS protocols.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sluis_core::{Error, ErrorKind, Result};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorAnswer {
    pub code: String,
    pub message: String,
    pub region: Option<String>,
}

/// The error in a body, if it holds one.
pub(super) fn error(body: &[u8]) -> Option<ErrorAnswer> {
    // Cheap for the bodies of files: only what starts like XML is looked at, and errors are short.
    let text = std::str::from_utf8(body.get(..body.len().min(64 << 10))?).ok()?.trim_start_matches('\u{feff}').trim_start();
    let root = if text.starts_with("<?xml") { text.split_once("?>")?.1.trim_start() } else { text };
    if !root.starts_with("<Error>") && !root.starts_with("<Error ") {
        return None;
    }
    // A damaged error is an error all the same.
    Some(quick_xml::de::from_str(text).unwrap_or_default())
}

pub(super) fn parse<'a, T: Deserialize<'a>>(what: &str, body: &'a [u8]) -> Result<T> {
    let wrong = || Error::new(ErrorKind::Unavailable, format!("the S3 server's answer to {what} makes no sense"));
    let text = std::str::from_utf8(body).map_err(|e| wrong().source(e))?;
    quick_xml::de::from_str(text).map_err(|e| wrong().source(e))
}

/// `ListObjectsV2`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    #[serde(default)]
    pub is_truncated: bool,
    pub next_continuation_token: Option<String>,
    pub encoding_type: Option<String>,
    #[serde(default)]
    pub contents: Vec<Object>,
    #[serde(default)]
    pub common_prefixes: Vec<Prefix>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Object {
    pub key: String,
    pub last_modified: Option<DateTime<Utc>>,
    #[serde(rename = "ETag")]
    pub etag: Option<String>,
    pub size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Prefix {
    pub prefix: String,
}

/// `ListMultipartUploads`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Uploads {
    #[serde(default)]
    pub is_truncated: bool,
    pub next_key_marker: Option<String>,
    pub next_upload_id_marker: Option<String>,
    pub encoding_type: Option<String>,
    #[serde(default)]
    pub upload: Vec<OpenUpload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OpenUpload {
    pub key: String,
    pub upload_id: String,
}

/// `CreateMultipartUpload`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Begun {
    pub upload_id: String,
}

/// `CompleteMultipartUploadResult`: that it is one is all we want to know.
#[derive(Debug, Deserialize)]
pub(super) struct Joined {
    #[serde(rename = "ETag")]
    pub etag: Option<String>,
}

/// `CopyPartResult`.
#[derive(Debug, Deserialize)]
pub(super) struct CopiedPart {
    #[serde(rename = "ETag")]
    pub etag: String,
}

/// `AssumeRole`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AssumeRoleResponse {
    pub assume_role_result: AssumeRoleResult,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AssumeRoleResult {
    pub credentials: Temporary,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Temporary {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    pub expiration: DateTime<Utc>,
}

impl std::fmt::Debug for Temporary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Temporary(until {})", self.expiration)
    }
}

/// `AssumeRole` refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StsError {
    pub error: ErrorAnswer,
}

/// A name from a listing that was asked for with `encoding-type=url`, where the server did so.
pub(super) fn decoded(name: String, encoding: Option<&str>) -> Result<String> {
    if encoding != Some("url") || !name.contains(['%', '+']) {
        return Ok(name);
    }
    let spaces = name.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaces).decode_utf8() {
        Ok(name) => Ok(name.into_owned()),
        Err(e) => Err(Error::new(ErrorKind::Config, format!("a key is not UTF-8: {name}")).hint("rename or exclude this object").source(e)),
    }
}

/// The body of `CompleteMultipartUpload`: parts in order, from 1. Etags without quotes.
pub(super) fn complete(parts: &[String]) -> String {
    let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (i, etag) in parts.iter().enumerate() {
        let etag = quick_xml::escape::escape(etag.as_str());
        body.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>", i + 1));
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

/// An etag as we keep it: without quotes. A weak one keeps its `W/`.
pub(crate) fn etag(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_with_mixed_and_encoded_names() {
        let page: Page = parse(
            "a listing",
            br#"<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
            <Contents><Key>a+b%2Bc</Key><LastModified>2024-05-01T10:00:00.123Z</LastModified><ETag>&#34;x&#34;</ETag><Size>5</Size><StorageClass>S</StorageClass></Contents>
            <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes><Contents><Key>z</Key><Size>0</Size></Contents>
            <IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><EncodingType>url</EncodingType></ListBucketResult>"#,
        )
        .unwrap();
        assert_eq!((page.contents.len(), page.common_prefixes.len(), page.is_truncated), (2, 1, true));
        assert_eq!(decoded(page.contents[0].key.clone(), page.encoding_type.as_deref()).unwrap(), "a b+c");
        assert_eq!(etag(page.contents[0].etag.as_deref().unwrap()), "x");
        let empty: Page = parse("a listing", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").unwrap();
        assert!(empty.contents.is_empty());
    }

    #[test]
    fn only_errors_are_errors() {
        assert_eq!(error(b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code></Error>").unwrap().code, "SlowDown");
        for body in ["", "a,b\n1,2\n", "<ErrorDocument/>", "<?xml", "<Errors></Errors>"] {
            assert!(error(body.as_bytes()).is_none(), "{body}");
        }
        assert!(error(b"\xff\xfe<Error>").is_none());
        assert_eq!(error(b"<Error><Code>SlowDo").unwrap().code, "");
    }
}
