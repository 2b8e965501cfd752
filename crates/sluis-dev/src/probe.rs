//! Probes: a question in the service's own protocol, and whether the answer is the one of a service that is ready.
//!
//! Deliberately not here: how often and how long to ask.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use regex::Regex;

use crate::description::Probe;
use crate::run::{Ended, Run};

/// Longest answer that is read.
const MOST: usize = 4 << 20;

/// Where probes are asked from.
pub struct Asker<'a> {
    /// The service's folder.
    pub folder: &'a Path,
    pub environment: &'a BTreeMap<String, String>,
    /// More folders for programs.
    pub path: &'a [std::path::PathBuf],
    pub limit: Duration,
}

/// Whether a probe runs a program, which costs more than a look.
pub fn is_costly(probe: &Probe) -> bool {
    probe.run.is_some()
}

impl Asker<'_> {
    /// `Ok`: the answer is right. `Err`: in a few words, why not.
    ///
    /// # Errors
    /// What was seen instead.
    pub fn ask(&self, probe: &Probe) -> Result<(), String> {
        if let Some(url) = &probe.http {
            self.http(probe, url)
        } else if let Some(address) = &probe.tcp {
            self.tcp(probe, address)
        } else if let Some(argv) = &probe.run {
            self.program(probe, argv)
        } else if let Some(file) = &probe.file {
            if self.folder.join(file).exists() { Ok(()) } else { Err(format!("there is no {file}")) }
        } else {
            Err("the probe asks nothing".into())
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// Of the first that is not content.
    pub fn all(&self, probes: &[Probe]) -> Result<(), String> {
        probes.iter().try_for_each(|p| self.ask(p))
    }

    fn http(&self, probe: &Probe, url: &str) -> Result<(), String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url} is not plain HTTP"))?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let head = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = self.exchange(address, head.as_bytes(), |_| false)?;
        let text = String::from_utf8_lossy(&answer);
        let status: u16 = text.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("no HTTP answer")?;
        let wanted = probe.status.unwrap_or(200);
        if status != wanted {
            return Err(format!("{url} answers {status}"));
        }
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        matches(probe, body.as_bytes()).then_some(()).ok_or_else(|| format!("{url} does not say so"))
    }

    fn tcp(&self, probe: &Probe, address: &str) -> Result<(), String> {
        let send = match (&probe.send, &probe.send_hex) {
            (_, Some(hex)) => bytes(hex).ok_or("send_hex is not hexadecimal")?,
            (Some(text), None) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        };
        let asks_nothing = probe.answer.is_none() && probe.answer_hex.is_none();
        let answer = self.exchange(address, &send, |so_far| asks_nothing || matches(probe, so_far))?;
        matches(probe, &answer).then_some(()).ok_or_else(|| format!("{address} gives another answer"))
    }

    /// Sends and reads until `enough` or the other end closes.
    fn exchange(&self, address: &str, send: &[u8], enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
        let end = Instant::now() + self.limit;
        let parsed: SocketAddr = address.replace("localhost:", "127.0.0.1:").parse().map_err(|_| format!("{address} is no address"))?;
        let mut stream = TcpStream::connect_timeout(&parsed, self.limit).map_err(|e| format!("{address}: {e}"))?;
        stream.write_all(send).map_err(|e| format!("{address}: {e}"))?;
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while !enough(&answer) && answer.len() < MOST {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{address} does not answer"));
            }
            stream.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => answer.extend_from_slice(&buffer[..n]),
                Err(e) => return Err(format!("{address} does not answer ({e})")),
            }
        }
        Ok(answer)
    }

    fn program(&self, probe: &Probe, argv: &[String]) -> Result<(), String> {
        let program = crate::run::program(&argv[0], self.path).ok_or_else(|| format!("there is no program {}", argv[0]))?;
        let mut command = Command::new(&program);
        command.args(&argv[1..]).current_dir(self.folder).envs(self.environment).envs(&probe.env);
        let Ended { status, output } = Run { command, stdin: "", limit: self.limit }.finish().map_err(|e| format!("{program}: {e}"))?;
        match status {
            None => Err(format!("`{}` takes longer than {} s", argv.join(" "), self.limit.as_secs())),
            Some(status) if !status.success() => {
                Err(format!("`{}` fails: {}", argv.join(" "), String::from_utf8_lossy(&output).lines().last().unwrap_or_default()))
            }
            Some(_) if matches(probe, &output) => Ok(()),
            Some(_) => Err(format!("`{}` does not say so", argv.join(" "))),
        }
    }
}

fn matches(probe: &Probe, answer: &[u8]) -> bool {
    let holds = |pattern: &str, text: &str| Regex::new(pattern).is_ok_and(|r| r.is_match(text));
    let text = |pattern: &String| holds(pattern, &String::from_utf8_lossy(answer));
    let hex = |pattern: &String| holds(pattern, &answer.iter().map(|b| format!("{b:02x}")).collect::<String>());
    probe.answer.as_ref().is_none_or(text) && probe.answer_hex.as_ref().is_none_or(hex)
}

/// Hexadecimal digits; blanks between them do not matter.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn probe(text: &str) -> Probe {
        toml::from_str(text).expect("a probe")
    }

    fn asked(text: &str) -> Result<(), String> {
        let (folder, environment) = (std::env::temp_dir(), BTreeMap::new());
        Asker { folder: &folder, environment: &environment, path: &[], limit: Duration::from_millis(300) }.ask(&probe(text))
    }

    /// A server that answers every connection with the same bytes once it has read something, and keeps the connection open.
    fn server(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 100]);
                let _ = stream.write_all(answer);
                open.push(stream);
            }
        });
        port
    }

    #[test]
    fn an_open_port_that_says_something_else_or_nothing_is_not_ready() {
        let (right, wrong, silent) = (server(b"imok"), server(b"no"), server(b""));
        let ruok = |port: u16| format!("tcp = '127.0.0.1:{port}'\nsend = 'ruok'\nanswer = '^imok'");
        assert_eq!(asked(&ruok(right)), Ok(()));
        assert!(asked(&ruok(wrong)).expect_err("an error").contains("does not answer"));
        assert!(asked(&ruok(silent)).expect_err("an error").contains("does not answer"));
    }

    #[test]
    fn binary_answers_are_compared_in_hexadecimal() {
        let port = server(&[0, 0, 0, 4, 0xff]);
        assert_eq!(asked(&format!("tcp = '127.0.0.1:{port}'\nsend_hex = '00 01'\nanswer_hex = '^00000004ff'")), Ok(()));
    }

    #[test]
    fn programs_count_by_exit_code_and_output() {
        assert_eq!(asked("run = ['sh', '-c', 'echo fine']\nanswer = 'fine'"), Ok(()));
        assert!(asked("run = ['sh', '-c', 'echo so what; exit 3']").expect_err("an error").contains("so what"));
        assert!(asked("run = ['sleep', '60']").expect_err("an error").contains("takes longer"));
    }
}
