//! How a call shows itself outside: From and what a trunk is told of the caller (RFC 3323, RFC 3325), its signature (RFC 8224)
//! and that it was passed on (RFC 5806, RFC 7044).

use std::time::Instant;

use ringfort_sip::message::Message;
use ringfort_sip::uri::Uri;
use ringfort_sip::write::Headers;

use crate::model::{CallId, DiversionForm, ExtensionId, TenantId, Trunk};
use crate::{Switch, diversion, line, number};

impl Switch {
    /// The signature of a call to a trunk, noted in its record.
    pub(super) fn sign_for(
        &mut self,
        now: Instant,
        id: CallId,
        tenant: TenantId,
        caller: Option<ExtensionId>,
        trunk: &Trunk,
        uri: &str,
    ) -> Option<Headers> {
        let plan = self.router.plan(tenant)?;
        let extension = caller.and_then(|id| self.directory.extension(id))?;
        let shown = number::caller_id(plan, trunk, &extension.calling)?;
        let shown = number::from_trunk(plan, trunk.headers.number_format, &shown);
        let user = Uri::parse(uri).ok()?.user_unescaped()?.into_owned();
        let called = number::from_trunk(plan, trunk.headers.number_format, &user);
        let (headers, note) = self.signature(now, trunk, shown.as_deref(), called.as_deref())?;
        if let Some(call) = self.calls.get_mut(&id) {
            call.cdr.more.identity = Some(note);
        }
        Some(headers)
    }

    /// From and the fields about the caller.
    pub(super) fn shown_outside(
        &self,
        tenant: TenantId,
        caller: Option<ExtensionId>,
        trunk: Option<&Trunk>,
        hide: bool,
    ) -> (String, Headers) {
        let anonymous = || "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
        let Some(extension) = caller.and_then(|id| self.directory.extension(id)) else {
            return (anonymous(), Headers::default());
        };
        match (trunk, self.router.plan(tenant)) {
            (Some(trunk), Some(plan)) => {
                let shown = line::shown(plan, trunk, self.directory.realm(tenant), extension, hide);
                (shown.from, shown.headers)
            }
            _ if hide => {
                let mut headers = Headers::default();
                headers.push("Privacy", "id");
                (anonymous(), headers)
            }
            _ => (self.identity(tenant, extension.id), Headers::default()),
        }
    }

    /// That the caller's own phone passes on a call, as the trunk wants it told. The number is the caller's own on that
    /// trunk, whatever the phone says.
    pub(super) fn diverted_outside(
        &self,
        tenant: TenantId,
        caller: Option<ExtensionId>,
        trunk: &Trunk,
        hidden: bool,
        request: &Message,
        uri: &str,
    ) -> Headers {
        let form = trunk.headers.diverted;
        let told = || {
            if form == DiversionForm::None {
                return None;
            }
            let reason = diversion::reason_of_phone(request)?;
            let calling = &self.directory.extension(caller?)?.calling;
            let by = number::caller_id(self.router.plan(tenant)?, trunk, calling)?;
            let domain = line::own_domain(trunk, self.directory.realm(tenant));
            Some(diversion::Diversion { by, reason, hidden }.for_trunk(form, &domain, uri))
        };
        told().unwrap_or_default()
    }
}
