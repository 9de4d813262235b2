//! What the switch has to say, as log events with the fields that logs are searched by.

use ringfort_switch::io::{Level, Notice};

pub(crate) fn log(notice: &Notice) {
    let call = notice.call.map(|call| call.0);
    let tenant = notice.tenant.map(|tenant| tenant.0);
    let rule = notice.rule;
    match notice.level {
        Level::Debug => tracing::debug!(call, tenant, rule, "{}", notice.text),
        Level::Info => tracing::info!(call, tenant, rule, "{}", notice.text),
        // `tracing` has no such level: it is one above information (RFC 5424 §6.2.1), and says so.
        Level::Notice => tracing::info!(severity = "notice", call, tenant, rule, "{}", notice.text),
        Level::Warn => tracing::warn!(call, tenant, rule, "{}", notice.text),
    }
}
