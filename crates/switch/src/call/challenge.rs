//! A trunk that asks for credentials within a call (RFC 3261 §22.2): our re-INVITE, UPDATE, INFO, MESSAGE or BYE is sent
//! once more, to the trunk's own addresses and for its realm alone. Whoever stands at the other end of a call has named the
//! address that our requests go to, so a challenge proves nothing of who he is.

use std::time::Instant;

use ringfort_sip::digest;
use ringfort_sip::endpoint::ClientTx;
use ringfort_sip::message::Message;

use super::ClientUse;
use crate::Switch;
use crate::io::Level;
use crate::model::TrunkId;

impl Switch {
    /// `true`: the request was sent again with the trunk's credentials.
    pub(super) fn answers_challenge(
        &mut self,
        now: Instant,
        tx: ClientTx,
        purpose: ClientUse,
        response: &Message,
    ) -> bool {
        let (call, trunk) = match purpose {
            ClientUse::Relayed { call, to, .. } => {
                let found = self.calls.get(&call);
                (Some(call), found.and_then(|found| found.legs[found.peer_of(to)?].trunk))
            }
            ClientUse::Refresh { call, leg, .. } => {
                (Some(call), self.calls.get(&call).and_then(|found| found.legs[leg].trunk))
            }
            ClientUse::Ending { trunk } => (None, trunk),
            // They have ways of their own, or are no requests within a call.
            ClientUse::Fork { .. }
            | ClientUse::Abandoned { .. }
            | ClientUse::Withdrawn { .. }
            | ClientUse::Errand(_)
            | ClientUse::Trunk(_) => return false,
        };
        let Some(trunk) = trunk else { return false };
        match self.authorize_within(now, tx, trunk, response) {
            Ok(again) => {
                self.sent_again(again, purpose);
                true
            }
            Err(why) => {
                let known = self.router.trunk(trunk);
                let (tenant, name) = (known.map(|t| t.tenant), known.map_or("?", |t| t.name.as_str()));
                let text = format!("trunk {name}: a challenge within a call is not answered: {why}");
                self.notice(Level::Warn, tenant, call, "trunk.authentication", text);
                false
            }
        }
    }

    fn authorize_within(
        &mut self,
        now: Instant,
        tx: ClientTx,
        trunk: TrunkId,
        response: &Message,
    ) -> Result<ClientTx, String> {
        let sent = self.endpoint.sent_within(tx).ok_or("the request is not known any more")?;
        if sent.has_credentials {
            return Err("it refuses the credentials".to_owned());
        }
        if !self.sources.is_at(trunk, sent.remote.ip()) && !self.trunks.is_reached_at(trunk, sent.remote) {
            return Err(format!("the request went to {}, which is no address of the trunk's", sent.remote));
        }
        let credentials = self.credentials_of(trunk).ok_or("the trunk has no user and password")?;
        let Some(realm) = credentials.realm.as_deref() else {
            return Err("which realm is the trunk's is not known: set `realm`".to_owned());
        };
        let given = digest::authorize(response, &credentials, &sent.method, &sent.uri, &mut self.rng, 1);
        let given =
            given.ok_or_else(|| format!("it asks for another realm than {realm:?}, or in a way we do not know"))?;
        self.endpoint.resend_with(now, tx, given).map_err(|error| error.to_string())
    }
}
