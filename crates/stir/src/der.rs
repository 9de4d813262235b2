//! The part of DER (ITU-T X.690 §10) that certificates need: definite lengths in their shortest form, one-octet tags.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// `[n]`, constructed.
pub(crate) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// Reads one value after the other. `None` says that the bytes are no such thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value: its tag and contents.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Tag numbers above 30 take more octets; nothing here has them.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                let length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
                let shortest = if octets.len() == 1 { 0x80 } else { 1 << (8 * (octets.len() - 1)) };
                (length >= shortest).then_some((length, rest))?
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The contents of the next value, which has this tag.
    pub(crate) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (got, contents) = ahead.any()?;
        (got == tag).then(|| *self = ahead)?;
        Some(contents)
    }

    pub(crate) fn inner(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.read(tag).map(Reader)
    }

    /// A value that is not negative and fits.
    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        let octets = self.read(INTEGER)?;
        let negative = octets.first()? & 0x80 != 0;
        let padded = octets.len() > 1 && octets[0] == 0 && octets[1] & 0x80 == 0;
        let octets = octets.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(octets);
        if negative || padded || octets.len() > 8 {
            return None;
        }
        Some(octets.iter().fold(0, |value, octet| value << 8 | u64::from(*octet)))
    }
}

/// One value.
pub(crate) fn write(tag: u8, contents: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let length = contents.len();
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        0x100..=0xffff => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(contents);
}

/// An INTEGER that is not negative.
pub(crate) fn write_unsigned(value: u64, out: &mut Vec<u8>) {
    let octets = value.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(7);
    let mut contents = Vec::with_capacity(9);
    if octets[first] & 0x80 != 0 {
        contents.push(0);
    }
    contents.extend_from_slice(&octets[first..]);
    write(INTEGER, &contents, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let mut out = Vec::new();
            write(OCTET_STRING, &vec![7; length], &mut out);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.read(OCTET_STRING).map(<[u8]>::len), Some(length));
            assert!(reader.is_empty());
        }
        for value in [0, 1, 127, 128, 255, 256, 99_999, u64::MAX] {
            let mut out = Vec::new();
            write_unsigned(value, &mut out);
            assert_eq!(Reader::new(&out).unsigned(), Some(value));
        }
    }

    #[test]
    fn other_than_der_is_refused() {
        for bytes in [
            &[][..],
            &[0x04],
            &[0x04, 0x02, 0x00],
            &[0x04, 0x81, 0x01, 0x00],
            &[0x04, 0x80, 0x00, 0x00],
            &[0x04, 0x84, 0, 0, 0, 0],
            &[0x1f, 0x01, 0x00],
        ] {
            assert_eq!(Reader::new(bytes).any(), None, "{bytes:x?}");
        }
        for bytes in [&[0x02, 0x00][..], &[0x02, 0x01, 0x80], &[0x02, 0x02, 0x00, 0x01]] {
            assert_eq!(Reader::new(bytes).unsigned(), None, "{bytes:x?}");
        }
    }
}
