//! Digest authentication of requests (CALL-2, GUARD-10): who is asking is settled here, before anything else is
//! looked at. Real and invented users go the same way and get the same bytes.

use std::time::{Duration, Instant};

use ringfort_sip::digest::{AuthFailure, Challenger};
use ringfort_sip::endpoint::Response;
use ringfort_sip::flow::Flow;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::uri::Uri;
use ringfort_sip::write::Headers;
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use crate::Switch;
use crate::io::Level;
use crate::model::{ExtensionId, ProfileId, TenantId};

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
            Challenger::new(realm.to_owned(), profile.digest.clone(), lifetime, own.finalize().into())
        })
    }
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

        let (mut stale, mut failed) = (false, false);
        let given = request.headers(HeaderName::Authorization).chain(request.headers(HeaderName::ProxyAuthorization));
        for credentials in given {
            match challenger.verify(now, credentials, request.method().as_str(), request.request_uri(), &lookup) {
                Ok(verified) => {
                    let extension = directory.by_user(tenant, &verified.username);
                    let extension = extension.expect("its hashes were found by the same look-up").id;
                    return Identity::Proven(extension);
                }
                Err(failure) if failure.is_stale() => stale = true,
                Err(AuthFailure::OtherRealm) => {}
                Err(_) => failed = true,
            }
        }
        let mut headers = Headers::default();
        challenger.challenge(now, stale && !failed, &mut headers, false);
        self.counters.challenges += 1;
        if failed {
            self.counters.auth_failures += 1;
            let text = format!("{} from {}: wrong credentials", request.method().as_str(), flow.remote);
            self.notice(Level::Warn, Some(tenant), None, "authentication", text);
        }
        // Nothing is kept for somebody who has proven nothing (RFC 3261 §8.2.7, §26.3.2.4).
        let mut response = Response::new(401);
        response.headers = headers;
        self.endpoint.respond_stateless(request, flow, response);
        Identity::Challenged { failed }
    }
}
