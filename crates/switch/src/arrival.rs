//! Calls from outside, before they are calls: which trunk a source address belongs to (`sources`), and what a provider
//! or a stranger says of the two parties (`parties`). Called by `call::arrival`.

mod parties;
mod sources;

use std::time::{Duration, Instant};

use ringfort_sip::locate::{LocateError, Request, Targets};
use ringfort_sip::uri::Uri;

use crate::Switch;
use crate::io::Level;
use crate::lookup::Lookup;
use crate::timers::Timer;

pub(crate) use parties::{Party, called, guest, numbers, of_trunk, user_of};
pub(crate) use sources::{HopId, Sources};

/// The bounds between which the lifetime of DNS records decides when a trunk is located again.
const SOONEST: Duration = Duration::from_secs(30);
const LATEST: Duration = Duration::from_secs(3600);

impl Switch {
    /// Trunks were added, changed or removed: what is new is located at once.
    pub(crate) fn follow_sources(&mut self, now: Instant) {
        let changes = self.sources.follow(&self.directory.site().trunks);
        for gone in changes.gone {
            if let Some(at) = gone.due {
                self.timers.clear(at, Timer::Sources(gone.id));
            }
            if let Some(lookup) = gone.lookup {
                self.lookups.cancel(lookup);
            }
        }
        for (trunk, text) in changes.unreadable {
            self.notice(Level::Warn, None, None, "trunk.sources", format!("trunk {trunk}: {text}"));
        }
        self.spare(now);
        for id in changes.new {
            self.sources.set_due(id, Some(now));
            self.timers.set(now, Timer::Sources(id));
        }
    }

    pub(crate) fn on_sources_due(&mut self, now: Instant, id: HopId) {
        let Some(uri) = self.sources.due(id) else { return };
        let Some(request) = Uri::parse(&uri).ok().and_then(|uri| Request::of_uri(&uri).ok()) else {
            // It was refused when it was written down; nobody comes from there.
            return;
        };
        let lookup = self.lookups.begin(now, request, Lookup::Sources(id));
        self.sources.asked(id, lookup);
    }

    /// The addresses of a trunk's host are known. What was known before stays where nothing is known now: a resolver that
    /// is down for a while must not shut out a provider.
    pub(crate) fn on_sources_located(&mut self, now: Instant, id: HopId, result: Result<Targets, LocateError>) {
        let again = match result {
            Ok(targets) => {
                let soonest = targets.left().filter_map(|target| target.expires).min();
                self.sources.located(id, targets.left().map(|target| target.address).collect());
                self.spare(now);
                soonest.map(|at| at.clamp(now + SOONEST, now + LATEST))
            }
            Err(error) => {
                self.sources.located_not(id);
                let name = self.router.trunk(id.trunk).map_or("?", |trunk| trunk.name.as_str());
                let text =
                    format!("trunk {name}: its host cannot be located, so its calls are not known by it: {error}");
                self.notice(Level::Info, None, None, "trunk.sources", text);
                Some(now + SOONEST)
            }
        };
        self.sources.set_due(id, again);
        if let Some(at) = again {
            self.timers.set(at, Timer::Sources(id));
        }
    }
}
