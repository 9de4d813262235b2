//! The edge against real sockets on loopback, with a core of a few lines in place of the switch.

mod common;
mod media;
mod streams;
mod tls;
mod udp;
