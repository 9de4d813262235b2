//! Counters of the edge since start. Each is a Prometheus counter or gauge of `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use ringfort_media::types::DropReason;

macro_rules! counters {
    ($(#[$doc:meta])* $live:ident, $snapshot:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $live { $(pub(crate) $field: Count,)* }

        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $snapshot { $($(#[$field_doc])* pub $field: u64,)* }

        impl $live {
            pub(crate) fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get(),)* }
            }
        }

        impl $snapshot {
            /// Names and values, in a fixed order.
            pub fn items(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }
    };
}

/// A counter with one writer: no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Packets that the relay's checks dropped, by reason.
#[derive(Debug, Default)]
pub(crate) struct DropCounters([Count; DropReason::COUNT]);

impl DropCounters {
    pub(crate) fn one(&self, reason: DropReason) {
        self.0[reason as usize].one();
    }

    /// Reasons by name, and how often each.
    pub(crate) fn items(&self) -> [(&'static str, u64); DropReason::COUNT] {
        std::array::from_fn(|i| (DropReason::ALL[i].as_str(), self.0[i].get()))
    }
}

counters! {
    /// The shard's sockets.
    NetCounters, NetStats {
        /// Datagrams received.
        udp_received,
        udp_sent,
        udp_send_failed,
        /// Datagrams that came back by ICMP.
        udp_undelivered,
        /// Dropped before parsing: banned source.
        dropped_ban,
        /// Dropped before parsing: STUN and connections to a profile that is for others.
        dropped_acl,
        /// Dropped before parsing: one stranger over its rate.
        dropped_rate_source,
        /// Dropped before parsing: a proven source over its rate.
        dropped_rate_proven,
        /// Dropped before parsing: all strangers over theirs.
        dropped_rate_all,
        /// STUN requests and CRLF pings answered.
        keepalives,
        /// Messages given to the parser, from datagrams and streams.
        parsed,
        /// Of them, refused by it.
        malformed,
        accepted,
        /// Closed at once: bans, rates and limits of connections.
        accept_refused,
        connected,
        connect_failed,
        tls_failed,
        /// Closed because nothing came: first message, handshake or idle.
        timed_out,
        /// Gauge: connections open now.
        connections,
        /// Gauge: of them, strangers'.
        strangers,
        stream_received,
        stream_sent,
        journal_errors,
        /// Gauge: media commands that wait because the media thread's queue is full.
        media_backlog,
        passes,
        /// Rests between passes while a flood is dropped.
        flood_pauses,
    }
}

counters! {
    /// Bans in the kernel.
    EnforceCounters, EnforceStats {
        /// Gauge: sources banned there.
        elements,
        /// Changes made, many bans in one.
        transactions,
        /// Times that the whole list was told.
        rebuilds,
        /// Times that the kernel or nft did not do what it was told.
        failures,
        /// Packets dropped there, by the last look.
        dropped_v4,
        dropped_v6,
    }
}

counters! {
    /// A media thread.
    MediaCounters, MediaStats {
        received,
        forwarded,
        /// Dropped by the relay's checks.
        dropped,
        /// Dropped before them: banned source.
        dropped_ban,
        /// Not taken by the kernel: no buffer, no route, unreachable.
        send_failed,
        /// Gauge: UDP ports open now.
        sockets,
        /// Gauge: streams open now.
        streams,
        /// Ports that could not be bound.
        bind_failed,
        passes,
        /// Passes after which it paused so that batches fill.
        paused,
    }
}
