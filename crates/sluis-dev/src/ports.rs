//! Ports of 127.0.0.1: choosing free ones, and who listens where (from the kernel's socket tables).
//!
//! Chosen below the range that the system gives to outgoing connections, so that nobody takes them in passing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::Path;

const FIRST: u64 = 20_000;
const COUNT: u64 = 12_000;

/// A port that nobody listens on and that is not `taken`; `key` decides where the search begins, so that the same cluster tends to the same ports.
pub fn choose(key: &str, taken: &BTreeSet<u16>) -> Option<u16> {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let begin = hasher.finish();
    (0..COUNT).filter_map(|i| u16::try_from(FIRST + (begin.wrapping_add(i)) % COUNT).ok()).find(|port| !taken.contains(port) && is_free(*port))
}

/// Whether it could be bound now, for TCP and UDP.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A socket that waits for others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    pub address: IpAddr,
    pub port: u16,
    pub pid: u32,
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = std::net::SocketAddr::new(self.address, self.port);
        write!(f, "{} {address} (process {})", self.protocol, self.pid)
    }
}

/// Every listening socket of these processes. A process that went away in the meantime has none.
pub fn listeners(pids: &[u32]) -> Vec<Listener> {
    // A process may live in a network of its own: its tables are asked, not ours. Most share one, which is read once.
    let mut networks: BTreeMap<String, BTreeMap<u64, (&'static str, IpAddr, u16)>> = BTreeMap::new();
    let mut out = BTreeSet::new();
    for &pid in pids {
        let root = Path::new("/proc").join(pid.to_string());
        let Ok(network) = std::fs::read_link(root.join("ns/net")) else { continue };
        let table = networks.entry(network.to_string_lossy().into_owned()).or_insert_with(|| tables(&root.join("net")));
        for inode in sockets(&root.join("fd")) {
            if let Some((protocol, address, port)) = table.get(&inode) {
                out.insert(Listener { protocol, address: *address, port: *port, pid });
            }
        }
    }
    out.into_iter().collect()
}

/// Which process listens on a TCP port of this machine, with its name; if it can be seen.
pub fn holder(port: u16) -> Option<String> {
    let table = tables(Path::new("/proc/net"));
    let inodes: BTreeSet<u64> = table.iter().filter(|(_, (_, _, p))| *p == port).map(|(inode, _)| *inode).collect();
    let entries = std::fs::read_dir("/proc").ok()?;
    let pid = entries
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok())
        .find(|pid| sockets(&Path::new("/proc").join(pid.to_string()).join("fd")).iter().any(|inode| inodes.contains(inode)))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", name.trim()))
}

fn sockets(fds: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(fds).into_iter().flatten().flatten();
    entries
        .filter_map(|e| {
            let target = std::fs::read_link(e.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// inode -> (protocol, address, port) of what listens (TCP) or is bound without a peer (UDP).
fn tables(net: &Path) -> BTreeMap<u64, (&'static str, IpAddr, u16)> {
    let mut out = BTreeMap::new();
    for (file, protocol, waiting) in [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")] {
        let text = std::fs::read_to_string(net.join(file)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = words.as_slice() else { continue };
            let Some((address, port)) = (*state == waiting).then(|| address(local)).flatten() else { continue };
            if let Ok(inode) = inode.parse() {
                out.insert(inode, (protocol, address, port));
            }
        }
    }
    out
}

/// `0100007F:1F90`: words of the address in the machine's byte order.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<u32> = (0..address.len() / 8).map(|i| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok()).collect::<Option<_>>()?;
    match words.as_slice() {
        [v4] => Some((IpAddr::V4(Ipv4Addr::from(v4.to_ne_bytes())), port)),
        [_, _, _, _] => {
            let mut bytes = [0; 16];
            for (i, word) in words.iter().enumerate() {
                bytes[i * 4..i * 4 + 4].copy_from_slice(&word.to_ne_bytes());
            }
            // An IPv4 address that IPv6 sockets use is the IPv4 address.
            let v6 = Ipv6Addr::from(bytes);
            Some((v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listeners_are_found_with_their_addresses() {
        let narrow = TcpListener::bind("127.0.0.1:0").expect("a port");
        let wide = TcpListener::bind("0.0.0.0:0").expect("a port");
        let found = listeners(&[std::process::id()]);
        let of = |l: &TcpListener| {
            let port = l.local_addr().expect("an address").port();
            found.iter().find(|f| f.port == port).map(|f| f.address.is_loopback())
        };
        assert_eq!((of(&narrow), of(&wide)), (Some(true), Some(false)));
    }

    #[test]
    fn a_taken_port_is_not_chosen_and_its_holder_is_named() {
        let first = choose("x", &BTreeSet::new()).expect("a port");
        let held = TcpListener::bind(("127.0.0.1", first)).expect("the port");
        assert_ne!(choose("x", &BTreeSet::new()), Some(first));
        let holder = holder(first).expect("a holder");
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
        drop(held);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        assert_eq!(address("0100007F:1F90"), Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 8080)));
        assert_eq!(address("00000000000000000000000001000000:0050"), Some((IpAddr::V6(Ipv6Addr::LOCALHOST), 80)));
        assert_eq!(address("0000000000000000FFFF00000100007F:0050"), Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 80)));
        assert_eq!(address("junk"), None);
    }
}
