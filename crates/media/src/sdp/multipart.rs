//! Finding the session description in a SIP body, which may be a multipart one (RFC 5621).

/// How deep multiparts may lie in each other.
const MAX_DEPTH: usize = 3;

/// The session description of a body: all of it for `application/sdp`, the first part of that type within `multipart/…`.
/// Parts that are not for the session (RFC 3959 early-session) or whose transfer encoding is not plain are passed over.
pub fn find_sdp<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    find(content_type, body, MAX_DEPTH)
}

fn find<'a>(content_type: &str, body: &'a [u8], depth: usize) -> Option<&'a [u8]> {
    let (media_type, params) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim();
    if media_type.eq_ignore_ascii_case("application/sdp") {
        return Some(body);
    }
    let is_multipart = media_type.get(..10).is_some_and(|head| head.eq_ignore_ascii_case("multipart/"));
    if !is_multipart || depth == 0 {
        return None;
    }
    let boundary = boundary(params)?;
    parts(body, boundary.as_bytes()).find_map(|part| sdp_in_part(part, depth))
}

/// The `boundary` parameter, quoted or not, of 1 to 70 characters (RFC 2046 §5.1.1).
fn boundary(params: &str) -> Option<&str> {
    let mut rest = params;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => behind.split_once(';').map_or((behind, ""), |(value, next)| (value.trim(), next)),
        };
        if name.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case("boundary") {
            let value = value.trim_end();
            return (1..=70).contains(&value.len()).then_some(value);
        }
        rest = next.trim_start_matches([' ', '\t', ';']);
    }
}

/// What lies between the delimiters; a missing last one ends at the end of the body.
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut delimiter = delimiter_from(body, boundary, 0);
    std::iter::from_fn(move || {
        let (_, start, last) = delimiter?;
        if last {
            return None;
        }
        delimiter = delimiter_from(body, boundary, start);
        let end = delimiter.map_or(body.len(), |(end, _, _)| end).max(start);
        Some(&body[start..end])
    })
}

/// The next `--boundary` at the beginning of a line: where the part before it ends, where the one behind it starts, and
/// whether it is the last.
fn delimiter_from(body: &[u8], boundary: &[u8], from: usize) -> Option<(usize, usize, bool)> {
    let mut line = from;
    while line < body.len() {
        let rest = &body[line..];
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let tail = rest[..length].strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        if let Some(tail) = tail {
            let tail = tail.trim_ascii_end();
            if tail.is_empty() || tail.starts_with(b"--") {
                let end = body[..line].strip_suffix(b"\n").unwrap_or(&body[..line]);
                let end = end.strip_suffix(b"\r").unwrap_or(end).len();
                return Some((end, line + length, !tail.is_empty()));
            }
        }
        line += length;
    }
    None
}

fn sdp_in_part(part: &[u8], depth: usize) -> Option<&[u8]> {
    let (mut content_type, mut usable) = ("", true);
    let mut rest = part;
    loop {
        let length = rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1)?;
        let line = rest[..length].trim_ascii_end();
        rest = &rest[length..];
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("c") {
            content_type = value;
        } else if name.eq_ignore_ascii_case("content-disposition") {
            let disposition = value.split(';').next().unwrap_or("").trim();
            usable &= disposition.is_empty() || disposition.eq_ignore_ascii_case("session");
        } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
            usable &= ["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain));
        }
    }
    if usable { find(content_type, rest, depth - 1) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_body_is_taken_by_its_type_in_any_case() {
        assert_eq!(find_sdp("Application/SDP;charset=utf-8", b"v=0"), Some(&b"v=0"[..]));
        assert_eq!(find_sdp("text/plain", b"v=0"), None);
        assert_eq!(find_sdp("", b"v=0"), None);
    }

    #[test]
    fn the_session_part_of_a_multipart_is_found_rfc_5621() {
        let body = b"preamble\r\n--b1\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n--b1\r\n\
                     Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=early\r\n--b1 \r\n\
                     c: application/SDP\r\nContent-Disposition: session;handling=required\r\n\r\nv=0\r\ns=-\r\n\r\n--b1--\r\n";
        assert_eq!(find_sdp("multipart/mixed; boundary=b1", body), Some(&b"v=0\r\ns=-\r\n"[..]));
        assert_eq!(find_sdp("multipart/mixed; x=\"a;b\"; boundary=\"b1\"", body), Some(&b"v=0\r\ns=-\r\n"[..]));
        assert_eq!(find_sdp("multipart/mixed", body), None);
        assert_eq!(find_sdp("multipart/mixed; boundary=b", body), None, "b1 is another boundary than b");
    }

    #[test]
    fn multiparts_in_multiparts_are_followed_a_few_levels() {
        let inner = "--in\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--in--\r\n";
        let body = format!("--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n{inner}\r\n--out--\r\n");
        assert_eq!(find_sdp("multipart/mixed;boundary=out", body.as_bytes()), Some(&b"v=0"[..]));
    }

    #[test]
    fn encoded_broken_and_endless_parts_give_nothing_or_what_there_is() {
        let base64 = b"--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b--";
        assert_eq!(find_sdp("multipart/mixed;boundary=b", base64), None);
        assert_eq!(find_sdp("multipart/mixed;boundary=b", b"--b\r\nContent-Type: application/sdp"), None);
        assert_eq!(
            find_sdp("multipart/mixed;boundary=b", b"--b\nContent-Type: application/sdp\n\nv=0"),
            Some(&b"v=0"[..])
        );
        assert_eq!(find_sdp("multipart/mixed;boundary=", b"--"), None);
        assert_eq!(find_sdp("multipart/mixed;boundary=\"b", b"--b"), None);
    }
}
