//! WebSocket frames (RFC 6455 §5, §7).

use bytes::{Buf, Bytes, BytesMut};

/// Which end we are: a client masks what it sends, a server does not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// RFC 6455 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message, its fragments joined. Text is UTF-8.
    Message {
        text: bool,
        data: Bytes,
    },
    /// To be answered with a pong of the same data.
    Ping(Bytes),
    Pong(Bytes),
    /// To be answered with a close, if none was sent, and the end of the connection. `None`: without a code.
    Close {
        code: Option<u16>,
    },
}

/// A breach of the protocol. The connection is to be failed: `write_close` with `code()`, then closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WsError {
    #[error("expected no reserved bits")]
    ReservedBits,
    #[error("expected one of the opcodes of RFC 6455")]
    Opcode,
    #[error("expected a client to mask and a server not to")]
    Mask,
    #[error("expected a control frame whole and of at most 125 bytes")]
    Control,
    #[error("expected the length in its shortest form")]
    Length,
    #[error("expected a continuation only after a beginning, and nothing else before its end")]
    Fragments,
    #[error("expected a message within the limit")]
    TooLong,
    #[error("expected text in UTF-8")]
    Utf8,
    #[error("expected a close code that may be sent")]
    CloseCode,
}

impl WsError {
    /// RFC 6455 §7.4.1.
    pub const fn code(self) -> u16 {
        match self {
            WsError::TooLong => 1009,
            WsError::Utf8 => 1007,
            WsError::ReservedBits
            | WsError::Opcode
            | WsError::Mask
            | WsError::Control
            | WsError::Length
            | WsError::Fragments
            | WsError::CloseCode => 1002,
        }
    }
}

/// The frames of one connection after its handshake.
#[derive(Debug)]
pub struct WebSocket {
    role: Role,
    /// The longest message, in bytes.
    limit: usize,
    buffer: BytesMut,
    /// A message whose end has not come, and whether it is text.
    fragments: Option<(bool, BytesMut)>,
    ended: bool,
}

struct FrameHead {
    fin: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// Of the head itself.
    len: usize,
    payload: usize,
}

impl WebSocket {
    /// `limit` is the longest message that is taken, in bytes.
    pub fn new(role: Role, limit: usize) -> WebSocket {
        WebSocket { role, limit, buffer: BytesMut::new(), fragments: None, ended: false }
    }

    /// Adds what was read. To be followed by `poll` until that has nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event; `None` where more bytes are needed, or after a close or an error.
    pub fn poll(&mut self) -> Result<Option<Event>, WsError> {
        let result = self.next_event();
        if matches!(result, Err(_) | Ok(Some(Event::Close { .. }))) {
            self.ended = true;
            self.buffer = BytesMut::new();
            self.fragments = None;
        }
        result
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len() + self.fragments.as_ref().map_or(0, |(_, data)| data.len())
    }

    fn next_event(&mut self) -> Result<Option<Event>, WsError> {
        while let Some(head) = self.head()? {
            if self.buffer.len() < head.len + head.payload {
                return Ok(None);
            }
            self.buffer.advance(head.len);
            let mut payload = self.buffer.split_to(head.payload);
            if let Some(mask) = head.mask {
                apply_mask(&mut payload, mask);
            }
            let event = if head.opcode.is_control() {
                Some(control(head.opcode, payload.freeze())?)
            } else {
                self.data(head.fin, head.opcode, payload)?
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The head of the next frame, checked before anything of its payload is waited for.
    fn head(&self) -> Result<Option<FrameHead>, WsError> {
        let [first, second, rest @ ..] = self.buffer.as_ref() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(WsError::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(WsError::Opcode)?;
        let masked = second & 0x80 != 0;
        if masked != (self.role == Role::Server) {
            return Err(WsError::Mask);
        }
        let short = second & 0x7f;
        if opcode.is_control() && (!fin || short > 125) {
            return Err(WsError::Control);
        }
        let (length, extended) = match short {
            126 => {
                let Some(bytes) = rest.first_chunk::<2>() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*bytes)), 2)
            }
            127 => {
                let Some(bytes) = rest.first_chunk::<8>() else { return Ok(None) };
                (u64::from_be_bytes(*bytes), 8)
            }
            _ => (u64::from(short), 0),
        };
        if (extended == 2 && length < 126) || (extended == 8 && length < 65_536) {
            return Err(WsError::Length);
        }
        let held = self.fragments.as_ref().map_or(0, |(_, data)| data.len());
        if !opcode.is_control() {
            if (opcode == Opcode::Continuation) != self.fragments.is_some() {
                return Err(WsError::Fragments);
            }
            if length > self.limit.saturating_sub(held) as u64 {
                return Err(WsError::TooLong);
            }
        }
        let mask = match masked {
            false => None,
            true => match rest.get(extended..).and_then(|rest| rest.first_chunk::<4>()) {
                Some(mask) => Some(*mask),
                None => return Ok(None),
            },
        };
        let len = 2 + extended + if masked { 4 } else { 0 };
        Ok(Some(FrameHead { fin, opcode, mask, len, payload: length as usize }))
    }

    fn data(&mut self, fin: bool, opcode: Opcode, payload: BytesMut) -> Result<Option<Event>, WsError> {
        let (text, data) = match self.fragments.take() {
            None => (opcode == Opcode::Text, payload),
            Some((text, mut data)) => {
                data.extend_from_slice(&payload);
                (text, data)
            }
        };
        if !fin {
            self.fragments = Some((text, data));
            return Ok(None);
        }
        if text && std::str::from_utf8(&data).is_err() {
            return Err(WsError::Utf8);
        }
        Ok(Some(Event::Message { text, data: data.freeze() }))
    }
}

fn control(opcode: Opcode, payload: Bytes) -> Result<Event, WsError> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        Opcode::Continuation | Opcode::Text | Opcode::Binary => Err(WsError::Opcode),
        Opcode::Close => match payload.as_ref() {
            [] => Ok(Event::Close { code: None }),
            [_] => Err(WsError::CloseCode),
            [a, b, reason @ ..] => {
                let code = u16::from_be_bytes([*a, *b]);
                if std::str::from_utf8(reason).is_err() {
                    return Err(WsError::Utf8);
                }
                // RFC 6455 §7.4: what may stand in a frame.
                match code {
                    1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Event::Close { code: Some(code) }),
                    _ => Err(WsError::CloseCode),
                }
            }
        },
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (b, m) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *b ^= m;
    }
}

/// Appends one whole frame. `mask` is random for a client and `None` for a server (RFC 6455 §5.3). A control frame's
/// payload is cut to 125 bytes.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let payload = if opcode.is_control() { &payload[..payload.len().min(125)] } else { payload };
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode.bits());
    match payload.len() {
        len @ 0..=125 => out.push(masked | len as u8),
        len @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Appends a close frame.
pub fn write_close(out: &mut Vec<u8>, code: Option<u16>, mask: Option<[u8; 4]>) {
    let code = code.map(u16::to_be_bytes);
    write_frame(out, Opcode::Close, code.as_ref().map_or(&[], |code| &code[..]), mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(role: Role, bytes: &[u8]) -> Result<Vec<Event>, WsError> {
        let mut socket = WebSocket::new(role, 70_000);
        socket.push(bytes);
        let mut events = Vec::new();
        while let Some(event) = socket.poll()? {
            events.push(event);
        }
        Ok(events)
    }

    fn message(data: &'static [u8]) -> Event {
        Event::Message { text: true, data: Bytes::from_static(data) }
    }

    #[test]
    fn the_examples_of_rfc_6455_5_7_are_read() {
        assert_eq!(read(Role::Client, b"\x81\x05Hello"), Ok(vec![message(b"Hello")]));
        assert_eq!(read(Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), Ok(vec![message(b"Hello")]));
        assert_eq!(read(Role::Client, b"\x01\x03Hel\x80\x02lo"), Ok(vec![message(b"Hello")]));
        assert_eq!(read(Role::Client, b"\x89\x05Hello"), Ok(vec![Event::Ping(Bytes::from_static(b"Hello"))]));
        assert_eq!(
            read(Role::Server, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
            Ok(vec![Event::Pong(Bytes::from_static(b"Hello"))])
        );
        let mut long = b"\x82\x7e\x01\x00".to_vec();
        long.resize(4 + 256, b'x');
        assert_eq!(read(Role::Client, &long).map(|events| events.len()), Ok(1));
        let mut longer = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00".to_vec();
        longer.resize(10 + 65_536, b'x');
        assert_eq!(read(Role::Client, &longer).map(|events| events.len()), Ok(1));
    }

    #[test]
    fn a_control_frame_may_come_between_fragments_rfc_6455_5_4() {
        let events = read(Role::Client, b"\x01\x03Hel\x89\x01!\x80\x02lo\x88\x02\x03\xe8\x81\x01x");
        let ping = Event::Ping(Bytes::from_static(b"!"));
        assert_eq!(events, Ok(vec![ping, message(b"Hello"), Event::Close { code: Some(1000) }]));
    }

    #[test]
    fn what_is_written_is_read_by_the_other_end_in_any_pieces() {
        for (role, mask) in [(Role::Client, None), (Role::Server, Some([1, 2, 3, 250]))] {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, Opcode::Text, "OPTIONS é".as_bytes(), mask);
            write_frame(&mut bytes, Opcode::Ping, &[7; 200], mask);
            write_frame(&mut bytes, Opcode::Binary, &[9; 300], mask);
            write_close(&mut bytes, Some(1001), mask);
            let whole = read(role, &bytes).expect("what we wrote");
            assert_eq!(whole.len(), 4);
            assert_eq!(whole[1], Event::Ping(Bytes::from_static(&[7; 125])));
            for split in 0..bytes.len() {
                let mut socket = WebSocket::new(role, 1000);
                let mut events = Vec::new();
                for piece in [&bytes[..split], &bytes[split..]] {
                    socket.push(piece);
                    while let Some(event) = socket.poll().expect("what we wrote") {
                        events.push(event);
                    }
                }
                assert_eq!(events, whole, "{split}");
            }
        }
    }

    #[test]
    fn breaches_are_named_and_closed_with_their_code_rfc_6455_7_4_1() {
        let cases: [(Role, &[u8], WsError, u16); 14] = [
            (Role::Client, b"\xc1\x00", WsError::ReservedBits, 1002),
            (Role::Client, b"\x83\x00", WsError::Opcode, 1002),
            (Role::Server, b"\x81\x00", WsError::Mask, 1002),
            (Role::Client, b"\x81\x80", WsError::Mask, 1002),
            (Role::Client, b"\x09\x00", WsError::Control, 1002),
            (Role::Client, b"\x89\x7e\x00\x7e", WsError::Control, 1002),
            (Role::Client, b"\x81\x7e\x00\x05Hello", WsError::Length, 1002),
            (Role::Client, b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", WsError::TooLong, 1009),
            (Role::Client, b"\x80\x00", WsError::Fragments, 1002),
            (Role::Client, b"\x01\x00\x81\x00", WsError::Fragments, 1002),
            (Role::Client, b"\x81\x01\xff", WsError::Utf8, 1007),
            (Role::Client, b"\x88\x01\x03", WsError::CloseCode, 1002),
            (Role::Client, b"\x88\x02\x03\xed", WsError::CloseCode, 1002),
            (Role::Client, b"\x88\x03\x03\xe8\xff", WsError::Utf8, 1007),
        ];
        for (role, bytes, error, code) in cases {
            assert_eq!(read(role, bytes), Err(error), "{bytes:?}");
            assert_eq!(error.code(), code);
        }
    }

    #[test]
    fn fragments_together_may_not_exceed_the_limit_rfc_6455_10_4() {
        let mut socket = WebSocket::new(Role::Client, 10);
        socket.push(b"\x02\x06abcdef\x80\x05");
        assert_eq!(socket.poll(), Err(WsError::TooLong));
        assert_eq!(socket.held(), 0);
        socket.push(b"\x81\x01x");
        assert_eq!(socket.poll(), Ok(None));
    }
}
