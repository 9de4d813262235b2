//! What the switch has to say, as log events with the fields that logs are searched by. What is about a call stands in the
//! span of that call.

use ringfort_switch::io::{Level, Notice};

pub(crate) fn log(notice: &Notice) {
    let tenant = notice.tenant.map(|tenant| tenant.0);
    let Some(call) = notice.call else { return event(notice, tenant) };
    tracing::info_span!("call", id = call.0, tenant).in_scope(|| event(notice, None));
}

/// `tenant`: where no span says it.
fn event(notice: &Notice, tenant: Option<u32>) {
    let rule = notice.rule;
    match notice.level {
        Level::Debug => tracing::debug!(tenant, rule, "{}", notice.text),
        Level::Info => tracing::info!(tenant, rule, "{}", notice.text),
        // `tracing` has no such level: it is one above information (RFC 5424 §6.2.1), and says so.
        Level::Notice => tracing::info!(severity = "notice", tenant, rule, "{}", notice.text),
        Level::Warn => tracing::warn!(tenant, rule, "{}", notice.text),
    }
}
