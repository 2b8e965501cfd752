//! A file as UTF-8 text in pieces: decompressed, transcoded, without its byte order mark.
//!
//! Deliberately not here: lines, records. Guarantees: bounded memory; every error names the file; bytes that are not valid in the declared
//! encoding come out as the byte 0xFF, which is valid in no UTF-8 text, so that the row they stand in is rejected and no other.

use std::sync::Arc;

use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use sluis_core::{RawFile, Result};

use crate::compress::Compression;
use crate::compress::unpack::Unpacked;

/// An encoding as configuration names it.
///
/// # Errors
/// A sentence with what can be written.
pub fn encoding(label: &str) -> Result<&'static Encoding, String> {
    let plain = label.trim().to_ascii_lowercase();
    if let Some(listed) = Encoding::for_label_no_replacement(plain.as_bytes()) {
        return Ok(listed);
    }
    let plain = plain.replace('_', "-");
    // Names that people write and the Encoding Standard does not list.
    let known = match plain.as_str() {
        "utf8" | "utf-8" | "utf-8-sig" | "utf8-sig" | "utf-8-bom" | "cp65001" => "utf-8",
        "latin-1" | "iso8859-1" => "latin1",
        "ansi" => "cp1252",
        "cp932" => "shift_jis",
        "cp936" => "gbk",
        "cp949" => "euc-kr",
        "cp950" => "big5",
        "macroman" | "mac-roman" => "macintosh",
        "utf16" => "utf-16",
        "utf-16-le" | "utf16le" => "utf-16le",
        "utf-16-be" | "utf16be" => "utf-16be",
        other => other,
    };
    Encoding::for_label_no_replacement(known.as_bytes())
        .ok_or_else(|| format!("unknown encoding `{label}`: write utf-8, utf-16, latin1, iso-8859-2 …, cp1250 to cp1258, koi8-r, gbk, big5, shift_jis, euc-kr or another name of the WHATWG list"))
}

/// The text of a file, piece by piece.
pub struct TextSource {
    file: Arc<dyn RawFile>,
    input: Unpacked,
    /// `None`: the end has been given.
    transcoder: Option<Transcoder>,
}

impl TextSource {
    /// Opens the file's stream. Nothing is read yet.
    pub async fn open(file: Arc<dyn RawFile>, compression: Compression, encoding: &'static Encoding) -> Result<Self> {
        let input = Unpacked::open(file.clone(), compression).await?;
        Ok(Self { file, input, transcoder: Some(Transcoder::new(encoding)) })
    }

    /// The next piece, never empty; `None` at the end, when the file has been verified to be still the one that was opened.
    ///
    /// # Errors
    /// `CorruptInput` for damaged compression, `SourceChanged` if the file is another now, and whatever the storage says.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.step().await;
        next.map_err(|e| {
            self.transcoder = None;
            if e.contexts().iter().any(|(k, _)| *k == "file") { e } else { e.context("file", &self.file.version().path) }
        })
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        while let Some(transcoder) = &mut self.transcoder {
            let text = match self.input.next().await? {
                Some(plain) => transcoder.push(plain),
                None => {
                    let rest = transcoder.end();
                    self.transcoder = None;
                    self.file.verify().await?;
                    rest
                }
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

/// Any encoding to UTF-8.
struct Transcoder {
    encoding: &'static Encoding,
    state: Coding,
}

enum Coding {
    /// Waiting for enough bytes to see a byte order mark.
    Start(Vec<u8>),
    Utf8,
    Other(Box<encoding_rs::Decoder>),
    Ended,
}

impl Transcoder {
    fn new(encoding: &'static Encoding) -> Self {
        Self { encoding, state: Coding::Start(Vec::new()) }
    }

    fn push(&mut self, bytes: Bytes) -> Bytes {
        match &mut self.state {
            Coding::Start(held) => {
                let bytes = if held.is_empty() { bytes } else { [held.as_slice(), &bytes].concat().into() };
                if bytes.len() < 3 {
                    *held = bytes.to_vec();
                    return Bytes::new();
                }
                self.begin(bytes)
            }
            Coding::Utf8 => bytes,
            Coding::Other(decoder) => transcode(decoder, &bytes, false),
            Coding::Ended => Bytes::new(),
        }
    }

    /// Decides by the byte order mark, which beats what is declared: nobody writes one by accident.
    fn begin(&mut self, bytes: Bytes) -> Bytes {
        let (encoding, mark) = Encoding::for_bom(&bytes).unwrap_or((self.encoding, 0));
        let bytes = bytes.slice(mark..);
        if encoding == UTF_8 {
            self.state = Coding::Utf8;
            return bytes;
        }
        // UTF-16 without a mark and without a declared order: the zero bytes of ASCII text tell.
        let encoding = if mark == 0 && encoding == UTF_16LE && bytes.first() == Some(&0) { UTF_16BE } else { encoding };
        let mut decoder = Box::new(encoding.new_decoder_without_bom_handling());
        let text = transcode(&mut decoder, &bytes, false);
        self.state = Coding::Other(decoder);
        text
    }

    fn end(&mut self) -> Bytes {
        match std::mem::replace(&mut self.state, Coding::Ended) {
            Coding::Start(held) => {
                let text = self.begin(held.into());
                [text, self.end()].concat().into()
            }
            Coding::Other(mut decoder) => transcode(&mut decoder, &[], true),
            Coding::Utf8 | Coding::Ended => Bytes::new(),
        }
    }
}

fn transcode(decoder: &mut encoding_rs::Decoder, mut bytes: &[u8], last: bool) -> Bytes {
    let mut out = vec![0; decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(bytes.len() * 4) + 16];
    let mut written = 0;
    loop {
        let (result, taken, made) = decoder.decode_to_utf8_without_replacement(bytes, &mut out[written..], last);
        bytes = &bytes[taken..];
        written += made;
        match result {
            DecoderResult::InputEmpty => break,
            DecoderResult::OutputFull => out.resize(out.len() * 2, 0),
            DecoderResult::Malformed(..) => {
                if written == out.len() {
                    out.resize(out.len() * 2, 0);
                }
                out[written] = 0xFF;
                written += 1;
            }
        }
    }
    out.truncate(written);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::memory_file_in_pieces;

    async fn text_of(bytes: &[u8], piece: usize, label: &str) -> Vec<u8> {
        let file = memory_file_in_pieces("/f.csv", bytes.to_vec(), piece);
        let mut source = TextSource::open(file, Compression::Auto, encoding(label).unwrap()).await.unwrap();
        let mut out = Vec::new();
        while let Some(p) = source.next().await.unwrap() {
            assert!(!p.is_empty());
            out.extend_from_slice(&p);
        }
        out
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[tokio::test]
    async fn encodings_come_out_as_utf8() {
        let want = "é€,ž\nü".as_bytes();
        for piece in [1, 2, 3, 5, 1000] {
            assert_eq!(text_of(want, piece, "utf-8").await, want);
            assert_eq!(text_of(&["\u{feff}".as_bytes(), want].concat(), piece, "utf-8").await, want);
            assert_eq!(text_of(&utf16("\u{feff}é€,ž\nü", true), piece, "utf-8").await, want, "the mark decides");
            assert_eq!(text_of(&utf16("\u{feff}é€,ž\nü", false), piece, "latin1").await, want, "the mark decides");
            assert_eq!(text_of(&utf16("é€,ž\nü", false), piece, "utf-16").await, want);
            assert_eq!(text_of(&utf16("abc", true), piece, "utf-16").await, b"abc");
            assert_eq!(text_of(b"\xe9\x80,\x9e\n\xfc", piece, "cp1252").await, want);
            assert_eq!(text_of(b"\xbe", piece, "iso-8859-2").await, "ž".as_bytes());
            assert_eq!(text_of(b"", piece, "utf-16").await, b"");
            assert_eq!(text_of(b"a", piece, "utf-8").await, b"a");
        }
    }

    #[tokio::test]
    async fn what_is_not_valid_is_marked() {
        let mut bytes = utf16("ab\n", false);
        bytes.extend([0x00, 0xd8]); // half a pair
        bytes.extend(utf16("c\n", false));
        assert_eq!(text_of(&bytes, 3, "utf-16").await, b"ab\n\xffc\n");
    }

    #[test]
    fn unknown_encodings_are_said() {
        assert!(encoding("ebcdic-something").unwrap_err().contains("cp1250"));
        for (written, name) in [
            ("UTF-8-SIG", "UTF-8"),
            ("utf_8", "UTF-8"),
            ("ISO8859_15", "ISO-8859-15"),
            ("ISO_8859-2", "ISO-8859-2"),
            ("ascii", "windows-1252"),
            ("ANSI", "windows-1252"),
            ("cp932", "Shift_JIS"),
            ("Shift_JIS", "Shift_JIS"),
            ("mac_roman", "macintosh"),
            ("gb_2312", "GBK"),
            ("KOI8_R", "KOI8-R"),
            ("utf_16_le", "UTF-16LE"),
        ] {
            assert_eq!(encoding(written).unwrap().name(), name, "{written}");
        }
    }
}
