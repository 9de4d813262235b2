//! The ladder of a run: who sent what to whom and when, kept only where a failing run is replayed.

use std::fmt::{self, Debug};
use std::time::Duration;

use ringfort_phone::{CallRef, Event};
use ringfort_sip::message::Message;
use ringfort_switch::record::JournalRecord;

use crate::net::Host;
use crate::plan::Step;
use crate::script::Op;

/// Lines of a run, the last ones where there are too many.
#[derive(Debug, Default)]
pub struct Trace {
    on: bool,
    /// Hosts behind the switch's that are phones; the rest are carriers.
    phones: usize,
    lines: Vec<String>,
}

impl Trace {
    /// Keeps lines only where `on`; `phones`: how many there are.
    pub fn new(on: bool, phones: usize) -> Self {
        Self { on, phones, lines: Vec::new() }
    }

    fn name(&self, host: Host) -> String {
        match host.0 {
            0 => "switch".to_owned(),
            n if n <= self.phones => format!("phone {}", n - 1),
            n => format!("carrier {}", n - 1 - self.phones),
        }
    }

    /// All lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    fn push(&mut self, at: Duration, line: impl FnOnce(&Self) -> String) {
        if self.on {
            let line = line(self);
            self.lines.push(format!("{:>11.4} {line}", at.as_secs_f64()));
        }
    }

    pub(crate) fn message(&mut self, at: Duration, from: Host, to: Host, message: &Message) {
        self.push(at, |trace| {
            let what = if message.is_request() {
                format!("{} {}", message.method().as_str(), message.request_uri())
            } else {
                format!("{} {}", message.status(), message.reason_phrase())
            };
            let cseq = message.cseq();
            let sdp = if message.body().is_empty() { "" } else { " +body" };
            format!(
                "{:>9} -> {:<9} {what}{sdp}  [{} {} {}]",
                trace.name(from),
                trace.name(to),
                message.call_id(),
                cseq.number,
                cseq.method.as_str()
            )
        });
    }

    pub(crate) fn event(&mut self, at: Duration, host: Host, event: &Event) {
        self.push(at, |trace| format!("{:>9}    {event:?}", trace.name(host)));
    }

    pub(crate) fn op(&mut self, at: Duration, host: Host, call: CallRef, op: Op) {
        self.push(at, |trace| format!("{:>9}    does {op:?} in {call:?}", trace.name(host)));
    }

    pub(crate) fn step(&mut self, at: Duration, step: &Step) {
        self.push(at, |_| format!("  phone {}    step {:?}", step.phone, step.action));
    }

    pub(crate) fn note(&mut self, at: Duration, host: Host, text: &str) {
        self.push(at, |trace| format!("{:>9}    {text}", trace.name(host)));
    }

    pub(crate) fn record(&mut self, at: Duration, record: &JournalRecord) {
        let record: &dyn Debug = record;
        self.push(at, |_| format!("  journal    {record:?}"));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: usize = 400;
        let skipped = self.lines.len().saturating_sub(LAST);
        if skipped > 0 {
            writeln!(f, "({skipped} lines before)")?;
        }
        self.lines[skipped..].iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
