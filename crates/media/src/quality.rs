//! Reception quality of RTP sources: loss (RFC 3550 §A.3), interarrival jitter (§A.8) and round trip (§6.4.1).
//! Called by the packet path; times are microseconds on the packet path's own clock.

use std::time::Duration;

/// Interarrival jitter of one source (RFC 3550 §6.4.1, §A.8), in sixteenths of a timestamp unit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    scaled: u32,
    transit: u32,
    timestamp: u32,
    started: bool,
}

impl Jitter {
    /// Notes a packet. One that has the timestamp of the packet before it says nothing of the network (a video frame
    /// in several packets, a telephone event going on, RFC 4733 §2.5.1.2) and is left out.
    #[inline]
    pub fn packet(&mut self, arrival: u64, timestamp: u32, clock_rate: u32) {
        if self.started && timestamp == self.timestamp {
            return;
        }
        let arrival = (arrival * u64::from(clock_rate) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if self.started {
            let d = transit.wrapping_sub(self.transit).cast_signed().unsigned_abs();
            self.scaled = self.scaled.saturating_add(d).saturating_sub((self.scaled.saturating_add(8)) >> 4);
        }
        *self = Jitter { transit, timestamp, started: true, ..*self };
    }

    /// Begins anew with another source or after a break, keeping the estimate.
    pub fn restart(&mut self) {
        self.started = false;
    }

    /// In timestamp units, as report blocks have it.
    pub fn units(&self) -> u32 {
        self.scaled >> 4
    }

    /// As time.
    pub fn duration(&self, clock_rate: u32) -> Duration {
        units_to_duration(self.units(), clock_rate)
    }
}

/// A number of timestamp units as time.
pub fn units_to_duration(units: u32, clock_rate: u32) -> Duration {
    Duration::from_micros(u64::from(units) * 1_000_000 / u64::from(clock_rate.max(1)))
}

/// Counts of a stream over all its sources, and of the interval since the last report (RFC 3550 §A.3).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Loss {
    received: u64,
    first: u64,
    /// Of sources that came before the current one.
    expected_before: u64,
    /// At the last report.
    expected_prior: u64,
    received_prior: u64,
}

impl Loss {
    /// A source begins with the packet of that index; `last` is the highest index of the one before it.
    pub fn restart(&mut self, last: Option<u64>, first: u64) {
        if let Some(last) = last {
            self.expected_before = self.expected(last);
        }
        self.first = first;
    }

    /// Notes a packet that counts (duplicates do not come here).
    #[inline]
    pub fn packet(&mut self, index: u64) {
        self.received += 1;
        // A packet from before the first one, reordered at the start.
        self.first = self.first.min(index);
    }

    /// Packets that should have come until `highest`, an index of the current source.
    pub fn expected(&self, highest: u64) -> u64 {
        self.expected_before + (highest + 1).saturating_sub(self.first)
    }

    /// Packets that came.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that did not come.
    pub fn lost(&self, highest: u64) -> u64 {
        self.expected(highest).saturating_sub(self.received)
    }

    /// Share lost since the last call, in 1/256 (RFC 3550 §6.4.1).
    pub fn take_fraction(&mut self, highest: u64) -> u8 {
        let expected = self.expected(highest).saturating_sub(self.expected_prior);
        let received = self.received.saturating_sub(self.received_prior);
        self.expected_prior = self.expected(highest);
        self.received_prior = self.received;
        match expected.checked_sub(received) {
            Some(lost) if expected > 0 => (lost * 256 / expected).min(255) as u8,
            _ => 0,
        }
    }
}

/// Round trip to a peer: its reports name the sender report they have seen, and how long ago (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    /// The last two sender reports sent to the peer; a report may cross with the newer one.
    sent: [SentReport; 2],
    smoothed: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct SentReport {
    ntp_middle: u32,
    at: u64,
    relayed: bool,
}

impl RoundTrip {
    /// A sender report went to the peer. `relayed`: its time is the partner's and not our own.
    pub fn sent(&mut self, ntp_middle: u32, at: u64, relayed: bool) {
        self.sent = [SentReport { ntp_middle, at, relayed }, self.sent[0]];
    }

    /// A report block came from the peer. Returns whether it answers a relayed sender report.
    pub fn reported(&mut self, last_sr: u32, delay_since: u32, now: u64) -> bool {
        let Some(sent) = self.sent.iter().find(|sent| sent.at != 0 && last_sr != 0 && sent.ntp_middle == last_sr)
        else {
            return false;
        };
        let held = (u64::from(delay_since) * 1_000_000) >> 16;
        let elapsed = now.saturating_sub(sent.at);
        // A peer that claims to have held the report for longer than it was away has a bad clock or lies.
        if let Some(trip) = elapsed.checked_sub(held) {
            let trip = Duration::from_micros(trip);
            self.smoothed = Some(self.smoothed.map_or(trip, |old| (old * 7 + trip) / 8));
        }
        sent.relayed
    }

    /// The smoothed round trip, where one was measured.
    pub fn get(&self) -> Option<Duration> {
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_packets_have_no_jitter_and_uneven_ones_the_sum_of_rfc_3550_a_8() {
        let mut even = Jitter::default();
        (0..100u32).for_each(|i| even.packet(u64::from(i) * 20_000, i * 160, 8000));
        assert_eq!(even.units(), 0);
        // Every other packet 10 ms late: |D| is 80 units each time, and the estimate goes there.
        let mut uneven = Jitter::default();
        (0..1000u32).for_each(|i| uneven.packet(u64::from(i) * 20_000 + u64::from(i % 2) * 10_000, i * 160, 8000));
        assert!((78..=80).contains(&uneven.units()), "{}", uneven.units());
        assert!((9_700..=10_000).contains(&uneven.duration(8000).as_micros()));
    }

    #[test]
    fn first_step_of_the_jitter_is_a_sixteenth_of_the_difference_rfc_3550_6_4_1() {
        let mut jitter = Jitter::default();
        jitter.packet(0, 0, 8000);
        jitter.packet(40_000, 160, 8000);
        assert_eq!(jitter.units(), 10);
    }

    #[test]
    fn packets_of_one_timestamp_do_not_count_as_jitter() {
        let mut jitter = Jitter::default();
        (0..50u64).for_each(|i| jitter.packet(i * 20_000, 4711, 8000));
        assert_eq!(jitter.units(), 0);
    }

    #[test]
    fn loss_is_expected_minus_received_rfc_3550_a_3() {
        let mut loss = Loss::default();
        loss.restart(None, 100);
        (100..200u64).filter(|i| i % 10 != 3).for_each(|i| loss.packet(i));
        assert_eq!((loss.expected(199), loss.received(), loss.lost(199)), (100, 90, 10));
        assert_eq!(loss.take_fraction(199), 25);
        (200..300u64).for_each(|i| loss.packet(i));
        assert_eq!(loss.take_fraction(299), 0);
        loss.restart(Some(299), 5000);
        loss.packet(5000);
        loss.packet(5002);
        assert_eq!((loss.expected(5002), loss.lost(5002)), (203, 11));
        assert_eq!(loss.take_fraction(5002), 85);
    }

    #[test]
    fn round_trip_is_elapsed_time_without_the_peers_delay_rfc_3550_6_4_1() {
        let mut trip = RoundTrip::default();
        trip.sent(0x1234_5678, 1_000_000, true);
        trip.sent(0x2222_2222, 6_000_000, false);
        assert!(trip.reported(0x1234_5678, 5 << 16, 6_100_000), "it answers the relayed one");
        assert_eq!(trip.get(), Some(Duration::from_millis(100)));
        assert!(!trip.reported(0x2222_2222, 0, 6_100_000));
        assert!(!trip.reported(0, 0, 7_000_000) && !trip.reported(1, 0, 7_000_000));
        assert_eq!(trip.get(), Some(Duration::from_millis(100)));
        trip.reported(0x2222_2222, u32::MAX, 6_100_000);
        assert_eq!(trip.get(), Some(Duration::from_millis(100)), "an impossible delay is not counted");
    }
}
