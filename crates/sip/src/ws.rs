//! SIP over WebSocket (RFC 6455, RFC 7118) as pure code: the opening handshake and the frames. Called by `net` for each
//! WebSocket connection. Every WebSocket message holds one SIP message (RFC 7118 §5.1).

mod codec;
mod handshake;

pub use codec::{Event, Opcode, Role, WebSocket, WsError, write_close, write_frame};
pub use handshake::{ClientHandshake, HandshakeError, ServerHandshake};
