//! A number on its way out by an address that is published for it (ENUM, RFC 6116): looked up before a trunk is tried. What is
//! not found in time, or does not take the call, costs no more than that: the trunks follow.

use std::time::{Duration, Instant};

use ringfort_sip::locate::{LocateError, NumberAddress, NumberRequest, Request};
use ringfort_sip::uri::Uri;

use super::outside::{Goal, Next, Way};
use super::setup::Refusal;
use crate::Switch;
use crate::io::Level;
use crate::lookup::{Lookup, status_of};
use crate::model::CallId;

/// How long a caller waits for the DNS before the next way is taken.
const WITHIN: Duration = Duration::from_secs(2);

/// How long all addresses that were found may be silent together before the trunks have their turn.
const ADDRESSES_WITHIN: Duration = Duration::from_secs(10);

/// Whether a refusal by a published address leaves the call to the trunks: it has no such number, wants no strangers, or
/// cannot take this call. A person's word stands.
pub(super) fn fails_over(status: u16) -> bool {
    matches!(status, 300..=499) && !matches!(status, 408 | 480 | 486 | 487)
}

impl Way {
    /// Whether numbers are still to be looked up.
    pub(super) fn looks_up_numbers(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Whether something is left to try.
    pub(super) fn has_more(&self) -> bool {
        let trunks = matches!(&self.goal, Goal::Trunks { left, .. } if !left.is_empty());
        trunks || !self.numbers.is_empty() || !self.addresses.is_empty() || !self.targets.is_empty()
    }
}

impl Switch {
    /// The next address that was found, or the next number to look up. `None`: the trunks are next.
    pub(super) fn next_by_number(&mut self, now: Instant, id: CallId) -> Option<Next> {
        let way = self.calls.get_mut(&id)?.way.as_mut()?;
        way.published = !way.addresses.is_empty() || !way.numbers.is_empty();
        if let Some(uri) = way.addresses.pop_front() {
            let parsed = Uri::parse(&uri).ok()?;
            let host = parsed.host_str().to_owned();
            let request = Request::of_uri(&parsed);
            way.tried.push(format!("enum:{host}"));
            way.uri.clone_from(&uri);
            let wrong = match request {
                _ if self.directory.tenant_of_domain(&host).is_some() => "it is an address of our own".to_owned(),
                Ok(request) => {
                    way.lookup = Some(self.lookups.begin(now, request, Lookup::Call(id)));
                    return Some(Next::Asked);
                }
                Err(error) => error.to_string(),
            };
            self.note_outside(id, Refusal::new(404, "route.enum", wrong));
            return Some(Next::Again);
        }
        let asked = way.numbers.pop_front()?;
        way.tried.push("enum".to_owned());
        let request = NumberRequest::within(asked, WITHIN);
        way.lookup = Some(self.lookups.begin_number(now, request, id));
        Some(Next::Asked)
    }

    /// The DNS has answered, or not in time.
    pub(crate) fn on_call_resolved(
        &mut self,
        now: Instant,
        id: CallId,
        result: Result<Vec<NumberAddress>, LocateError>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant;
        let Some(way) = call.way.as_mut() else { return };
        way.lookup = None;
        match result {
            Ok(found) => {
                // What is called is written anew, as any address of another domain is.
                let uris = found.iter().filter_map(|address| Self::domain_uri(&address.uri));
                way.addresses.extend(uris);
                way.until = Some(now + ADDRESSES_WITHIN);
                way.tried.pop();
                let text = format!("ENUM gives {} addresses", way.addresses.len());
                self.notice(Level::Debug, Some(tenant), Some(id), "route.enum", text);
            }
            Err(error) => {
                self.note_outside(id, Refusal::new(status_of(error), "route.enum", error.to_string()));
            }
        }
        self.go_on_outside(now, id);
    }
}
