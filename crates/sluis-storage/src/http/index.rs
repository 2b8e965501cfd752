//! What an index page of a web server lists: the `href`s of its links, as Apache, nginx, Caddy and Python's server write them.

use percent_encoding::percent_decode_str;
use url::Url;

/// What is directly below the page's own address.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Decoded names.
    pub files: Vec<String>,
    pub folders: Vec<String>,
}

/// Links that lead elsewhere (other hosts, parents, deeper than one level, sorted views of the same page) are passed over.
pub(super) fn parse(page: &Url, html: &str) -> Index {
    let mut index = Index::default();
    for href in hrefs(html) {
        let Ok(to) = page.join(&unescaped(href)) else { continue };
        let same_place = to.scheme() == page.scheme() && to.host() == page.host() && to.port_or_known_default() == page.port_or_known_default();
        let below = to.path().strip_prefix(page.path()).filter(|rest| same_place && !rest.is_empty());
        // `?C=M;O=A`: the same page in another order.
        let Some(name) = below.filter(|_| to.query().is_none()) else { continue };
        let (name, list) = match name.strip_suffix('/') {
            Some(name) => (name, &mut index.folders),
            None => (name, &mut index.files),
        };
        let Ok(name) = percent_decode_str(name).decode_utf8() else { continue };
        if !name.is_empty() && !name.contains('/') && name != "." && name != ".." && !list.iter().any(|n| *n == name) {
            list.push(name.into_owned());
        }
    }
    index.files.sort();
    index.folders.sort();
    index
}

/// The values of `href` in `<a …>` tags.
fn hrefs(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = html;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find('<')?;
            rest = &rest[at + 1..];
            let is_link =
                rest.get(..2).is_some_and(|t| t.eq_ignore_ascii_case("a ") || t.eq_ignore_ascii_case("a\t") || t.eq_ignore_ascii_case("a\n"));
            if !is_link {
                continue;
            }
            if let Some((value, after)) = href(&rest[1..]) {
                rest = after;
                return Some(value);
            }
        }
    })
}

/// From within a tag: the value of its `href`, and what follows.
fn href(tag: &str) -> Option<(&str, &str)> {
    let mut at = tag.trim_start();
    while !at.is_empty() && !at.starts_with('>') {
        let end = at.find(|c: char| c == '=' || c == '>' || c.is_whitespace())?;
        let name = &at[..end];
        at = at[end..].trim_start();
        let Some(value) = at.strip_prefix('=') else {
            // An attribute without a value.
            at = at.strip_prefix('/').unwrap_or(at).trim_start();
            continue;
        };
        let value = value.trim_start();
        let (text, after) = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split_once(quote)?,
            _ => value.split_at(value.find(|c: char| c == '>' || c.is_whitespace()).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case("href") {
            return Some((text, after));
        }
        at = after.trim_start();
    }
    None
}

/// The entities that stand in addresses.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = rest.find(';').filter(|end| *end <= 10) else {
            out.push('&');
            rest = &rest[1..];
            continue;
        };
        let entity = &rest[1..end];
        let number = entity.strip_prefix('#').and_then(|n| match n.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => n.parse().ok(),
        });
        let is = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32),
        };
        match is {
            Some(c) => out.push(c),
            None => out.push_str(&rest[..=end]),
        }
        rest = &rest[end + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(html: &str) -> Index {
        parse(&"http://h:8000/data/in/".parse().unwrap(), html)
    }

    #[test]
    fn pages_of_the_usual_servers() {
        let python = r#"<!DOCTYPE HTML><html><body><h1>Directory listing for /data/in/</h1><hr><ul>
            <li><a href="a%20b.csv">a b.csv</a></li><li><a href="sub/">sub/</a></li><li><a href="x&amp;y.csv">x&amp;y.csv</a></li></ul></body>"#;
        let nginx = "<html><head><title>Index of /data/in/</title></head><body><pre><a href=\"../\">../</a>\n<a href=\"sub/\">sub/</a>  01-May-2024 10:00   -\n<a href=\"a%20b.csv\">a b.csv</a> 12\n<A HREF='x&#38;y.csv'>x</A></pre>";
        let apache = r##"<table><tr><th><a href="?C=N;O=D">Name</a></th></tr><tr><td><a href="/data/">Parent Directory</a></td></tr>
            <td><a class=x href=sub/>sub/</a></td><a title="a > b" href="/data/in/a%20b.csv">a</a><a href="http://h:8000/data/in/x&amp;y.csv">x</a>
            <a href="http://elsewhere/data/in/z.csv">z</a><a href="https://h:8000/data/in/z.csv">z</a><a href="sub/deep.csv">d</a><a href="mailto:a@b">m</a>
            <a href="javascript:void(0)">j</a><a name="top">t</a><a href="#top">t</a><abbr href="no.csv">"##;
        for html in [python, nginx, apache] {
            assert_eq!(index(html), Index { files: vec!["a b.csv".into(), "x&y.csv".into()], folders: vec!["sub".into()] }, "{html}");
        }
    }

    #[test]
    fn damaged_pages_do_no_harm() {
        for html in [
            "",
            "<a ",
            "<a href",
            "<a href=",
            "<a href=\"x",
            "<a href='a'",
            "<a x y z>",
            "<a é='1' href=b>",
            "& &#xffffffff; <a href='&#xZ;&bogus;'>",
            "<a href=\"%ff\">",
        ] {
            let _ = index(html);
        }
        assert_eq!(index("<a é='1' href=b>").files, ["b"]);
        assert_eq!(index("<a href='a%2Fb'><a href='%2e%2e'>").files, [""; 0]);
    }
}
