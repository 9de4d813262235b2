//! Digest authentication of requests (CALL-2, GUARD-10): who is asking is settled here, before anything else is
//! looked at. Real and invented users go the same way and get the same bytes.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringfort_guard::Offence;
use ringfort_sip::digest::{Algorithm, AuthFailure, Challenger, Ha1Set, Verified};
use ringfort_sip::endpoint::{Mark, Response};
use ringfort_sip::flow::Flow;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::uri::Uri;
use ringfort_sip::write::Headers;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use crate::Switch;
use crate::io::Level;
use crate::model::{ExtensionId, ProfileId, TenantId, Trunk};
use crate::wall::{Proof, mark_of};

/// One challenger for each realm and set of algorithms.
pub(crate) struct Challengers {
    nonce_lifetime: Duration,
    seed: [u8; 32],
    made: FxHashMap<(TenantId, ProfileId), Challenger>,
}

impl Challengers {
    pub(crate) fn new(nonce_lifetime: Duration, seed: [u8; 32]) -> Self {
        Self { nonce_lifetime, seed, made: FxHashMap::default() }
    }

    fn get(&mut self, tenant: TenantId, profile: &crate::config::Profile, realm: &str) -> &mut Challenger {
        let (lifetime, seed) = (self.nonce_lifetime, self.seed);
        let key = (tenant, profile.id);
        if self.made.get(&key).is_some_and(|c| c.realm() != realm) {
            self.made.remove(&key);
        }
        self.made.entry(key).or_insert_with(|| {
            // Each challenger has a seed of its own: a nonce of one realm is worth nothing in another.
            let own = Sha256::new()
                .chain_update(seed)
                .chain_update(tenant.0.to_be_bytes())
                .chain_update(profile.id.0.to_be_bytes());
            // A profile where nobody is asked but a trunk names no algorithms: many providers have MD5 alone.
            let algorithms = if profile.digest.is_empty() {
                vec![Algorithm::Sha256, Algorithm::Md5]
            } else {
                profile.digest.clone()
            };
            Challenger::new(realm.to_owned(), algorithms, lifetime, own.finalize().into())
        })
    }
}

/// What is wrong with the credentials of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Unproven {
    /// Right, but for a nonce that is over.
    stale: bool,
    /// Wrong.
    failed: bool,
    /// A nonce of ours came back from where it had been given to.
    heard: bool,
}

/// Looks at all credentials that a request brings. `bound`: they answer a challenge that went to this source.
fn verify<'s>(
    challenger: &mut Challenger,
    now: Instant,
    request: &Message,
    source: IpAddr,
    bound: bool,
    lookup: &dyn Fn(&str) -> Option<&'s Ha1Set>,
) -> Result<Verified, Unproven> {
    let mut unproven = Unproven::default();
    let given = request.headers(HeaderName::Authorization).chain(request.headers(HeaderName::ProxyAuthorization));
    for credentials in given {
        let from = bound.then_some(source);
        match challenger.verify(now, from, credentials, request.method().as_str(), request.request_uri(), lookup) {
            Ok(verified) => return Ok(verified),
            Err(failure) if failure.is_stale() => unproven.stale = true,
            Err(AuthFailure::OtherRealm) => {}
            Err(_) => {
                unproven.failed = true;
                unproven.heard |= challenger.was_heard_at(now, credentials, source);
            }
        }
    }
    Err(unproven)
}

/// What came of asking a trunk.
pub(crate) enum LineIdentity {
    Proven,
    /// It is known by its address alone.
    Unasked,
    /// As of [`Identity`].
    Challenged {
        failed: bool,
    },
}

/// What came of asking.
pub(crate) enum Identity {
    Proven(ExtensionId),
    /// A 401 was sent. `failed`: there were credentials, and they were wrong.
    Challenged {
        failed: bool,
    },
}

impl Switch {
    /// The tenant a request is for: by the host of `address`, or the only or first one where that is none of ours
    /// (phones are often given an IP address alone).
    pub(crate) fn tenant_of(&self, address: &str) -> Option<TenantId> {
        let by_host = Uri::parse(address).ok().and_then(|u| self.directory.tenant_of_domain(u.host_str()));
        by_host.or_else(|| self.directory.default_tenant())
    }

    /// Proves who sent a request on an internal profile, or answers it with a challenge.
    pub(crate) fn authenticate(&mut self, now: Instant, request: &Message, flow: &Flow, tenant: TenantId) -> Identity {
        let listener = &self.config.listeners[usize::from(flow.listener.0)];
        let profile = &self.config.profiles[usize::from(listener.profile.0)];
        let directory = &self.directory;
        let challenger = self.challengers.get(tenant, profile, directory.realm(tenant));
        let lookup = |user: &str| directory.ha1(tenant, user);

        match verify(challenger, now, request, flow.remote.ip(), true, &lookup) {
            Ok(verified) => {
                let extension = directory.by_user(tenant, &verified.username);
                Identity::Proven(extension.expect("its hashes were found by the same look-up").id)
            }
            Err(unproven) => {
                self.challenge(now, request, flow, tenant, unproven);
                Identity::Challenged { failed: unproven.failed }
            }
        }
    }

    /// Proves that a call comes from a trunk's far end, where it has credentials for that (CALL-4), or answers with a
    /// challenge.
    pub(crate) fn authenticate_line(
        &mut self,
        now: Instant,
        request: &Message,
        flow: &Flow,
        trunk: &Trunk,
    ) -> LineIdentity {
        let Some(expected) = &trunk.inbound_credentials else { return LineIdentity::Unasked };
        let listener = &self.config.listeners[usize::from(flow.listener.0)];
        let profile = &self.config.profiles[usize::from(listener.profile.0)];
        let realm = self.directory.realm(trunk.tenant);
        let hashes = OnceCell::new();
        let lookup = |user: &str| {
            let hash = || Ha1Set::new(&expected.user, realm, expected.password.reveal());
            (user == expected.user).then(|| hashes.get_or_init(hash))
        };
        let challenger = self.challengers.get(trunk.tenant, profile, realm);
        // A provider's machines take turns, and are known by their addresses.
        match verify(challenger, now, request, flow.remote.ip(), false, &lookup) {
            Ok(_) => LineIdentity::Proven,
            Err(unproven) => {
                self.challenge(now, request, flow, trunk.tenant, unproven);
                LineIdentity::Challenged { failed: unproven.failed }
            }
        }
    }

    fn challenge(&mut self, now: Instant, request: &Message, flow: &Flow, tenant: TenantId, unproven: Unproven) {
        let listener = &self.config.listeners[usize::from(flow.listener.0)];
        let profile = &self.config.profiles[usize::from(listener.profile.0)];
        let challenger = self.challengers.get(tenant, profile, self.directory.realm(tenant));
        let mut headers = Headers::default();
        challenger.challenge(now, flow.remote.ip(), unproven.stale && !unproven.failed, &mut headers, false);
        self.counters.challenges += 1;
        if unproven.failed {
            self.counters.auth_failures += 1;
            let text = format!("{} from {}: wrong credentials", request.method().as_str(), flow.remote);
            self.notice(Level::Warn, Some(tenant), None, "authentication", text);
        }
        let offence = match unproven.failed {
            true => Some(Offence::Authentication),
            false => self.is_scanner(request).then_some(Offence::Scanner),
        };
        let mut mark = Mark::NONE;
        if let Some(offence) = offence {
            let proof = if unproven.heard { Proof::Given } else { Proof::of(flow) };
            self.offence(now, flow, offence, offence.name(), proof, request);
            if proof == Proof::Missing {
                mark = mark_of(offence, offence.name());
            }
        }
        // Nothing is kept for somebody who has proven nothing (RFC 3261 §8.2.7, §26.3.2.4).
        let mut response = Response::new(401);
        response.headers = headers;
        self.endpoint.respond_marked(request, flow, response, mark);
    }
}
