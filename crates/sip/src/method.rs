//! Request methods (RFC 3261 §7.1 and the RFCs that add to it). Case-sensitive, and open: any token is a method.

use std::fmt;

/// A request method. Two are equal when their names are, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method<'a> {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 3262.
    Prack,
    /// RFC 3428.
    Message,
    /// RFC 3515.
    Refer,
    /// RFC 6665.
    Notify,
    /// RFC 6665.
    Subscribe,
    /// RFC 3903.
    Publish,
    /// Any other. Never holds one of the names above.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// Every method that has a name here.
    pub const KNOWN: [Method<'static>; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Register,
        Method::Options,
        Method::Info,
        Method::Update,
        Method::Prack,
        Method::Message,
        Method::Refer,
        Method::Notify,
        Method::Subscribe,
        Method::Publish,
    ];

    /// Whether the first server that a request reaches answers it, so that it goes on to nobody else.
    pub fn ends_here(&self) -> bool {
        match self {
            Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Options
            | Method::Subscribe
            | Method::Publish
            | Method::Notify => true,
            Method::Invite
            | Method::Bye
            | Method::Info
            | Method::Update
            | Method::Prack
            | Method::Message
            | Method::Refer
            | Method::Other(_) => false,
        }
    }

    /// The method of that name.
    pub fn from_name(name: &'a str) -> Method<'a> {
        match name {
            "INVITE" => Method::Invite,
            "ACK" => Method::Ack,
            "BYE" => Method::Bye,
            "CANCEL" => Method::Cancel,
            "REGISTER" => Method::Register,
            "OPTIONS" => Method::Options,
            "INFO" => Method::Info,
            "UPDATE" => Method::Update,
            "PRACK" => Method::Prack,
            "MESSAGE" => Method::Message,
            "REFER" => Method::Refer,
            "NOTIFY" => Method::Notify,
            "SUBSCRIBE" => Method::Subscribe,
            "PUBLISH" => Method::Publish,
            other => Method::Other(other),
        }
    }

    pub const fn as_str(self) -> &'a str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Register => "REGISTER",
            Method::Options => "OPTIONS",
            Method::Info => "INFO",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Message => "MESSAGE",
            Method::Refer => "REFER",
            Method::Notify => "NOTIFY",
            Method::Subscribe => "SUBSCRIBE",
            Method::Publish => "PUBLISH",
            Method::Other(name) => name,
        }
    }

    /// The same method without a borrow, where it is one of the known.
    pub fn known(self) -> Option<Method<'static>> {
        Method::KNOWN.into_iter().find(|known| known.as_str() == self.as_str())
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
