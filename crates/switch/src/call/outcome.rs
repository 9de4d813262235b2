//! Which refusal a caller hears when several phones refuse, and what a phone's word means to him.

/// The status a caller gets for a callee's: what concerns our own leg to that phone (its challenge, its routing, its
/// server trouble) must not reach him (RFC 3261 §16.7 for proxies; RFC 7092 §3 leaves it to the B2BUA).
pub(crate) fn for_caller(status: u16) -> u16 {
    match status {
        408 | 415 | 480 | 486..=488 | 600..=699 => status,
        // A phone that redirects, asks for credentials or does not know itself cannot be reached just now, and a failing
        // phone is no failing system: 5xx would make a caller's trunk fail over and ring twice.
        _ => 480,
    }
}

/// The same for a refusal from outside: a number that does not exist or a line that is barred is the caller's business.
pub(crate) fn from_outside(status: u16) -> u16 {
    match status {
        403 | 404 | 410 | 484 => status,
        _ => for_caller(status),
    }
}

/// The status that one side of a call gets for the other's refusal of its request within the call. None of them says
/// that the call is over (RFC 5057 §5.1) where it is not.
pub(crate) fn within_call(status: u16, is_offer: bool) -> u16 {
    match status {
        200..=299 | 415 | 469 | 488 | 491 | 500 | 600..=699 => status,
        405 | 501 if !is_offer => 501,
        _ if is_offer => 488,
        _ => 500,
    }
}

/// Whether `status` says more to the caller than `best` does (RFC 3261 §16.7 step 6, in the order that people expect:
/// a person's decision before a busy line, a busy line before media that do not fit, all before silence).
pub(crate) fn better(status: u16, best: u16) -> bool {
    rank(status) > rank(best)
}

fn rank(status: u16) -> u8 {
    match status {
        488 | 415 | 606 => 7,
        600..=699 => 9,
        486 => 8,
        480 | 487 => 4,
        408 => 2,
        500..=599 => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_phone_outweighs_silent_ones_and_a_decline_outweighs_all() {
        assert!(better(486, 408) && better(486, 480) && better(603, 486) && better(488, 480));
        assert!(!better(408, 480) && !better(480, 486));
    }

    #[test]
    fn a_phones_own_trouble_is_not_the_callers() {
        for status in [302, 401, 407, 404, 481, 500, 503] {
            assert_eq!(for_caller(status), 480, "{status}");
        }
        for status in [408, 415, 480, 486, 487, 488, 600, 603, 606] {
            assert_eq!(for_caller(status), status);
        }
    }
}
