//! Messages that callers left, as operators list, take and delete them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ringfort_store::voicemail::{StoredMessage, VoicemailError, VoicemailFilter};
use ringfort_switch::model::{Site, mask};
use ringfort_switch::voicemail::MessageId;
use serde_json::{Value, json};

use super::{Admin, Place};

impl Admin {
    pub(super) fn messages(
        &self,
        mailbox: Option<&str>,
        from: Option<String>,
        unmasked: bool,
    ) -> Result<Value, String> {
        let site = self.service.site();
        let number = |message: &StoredMessage| site.extensions.get(&message.message.mailbox).map(|e| e.number.clone());
        if let Some(mailbox) = mailbox
            && !site.extensions.values().any(|extension| extension.number == mailbox)
        {
            return Err(format!("no extension has the number {mailbox}"));
        }
        let found = self.voicemail.list(&VoicemailFilter { mailbox: None, from }).map_err(words)?;
        let of_mailbox = |message: &StoredMessage| mailbox.is_none() || number(message).as_deref() == mailbox;
        let items: Vec<Value> =
            found.iter().filter(|message| of_mailbox(message)).map(|message| item(&site, message, unmasked)).collect();
        Ok(json!({ "items": items }))
    }

    /// The WAV file of a message, in base64.
    pub(super) fn message_sound(&self, id: u64) -> Result<Value, String> {
        let stored = self.voicemail.get(MessageId(id)).map_err(words)?.ok_or_else(|| missing(id))?;
        let file = self.voicemail.sound(stored.id).map_err(words)?;
        let mut value = item(&self.service.site(), &stored, false);
        value["wav"] = json!(BASE64.encode(file));
        Ok(value)
    }

    pub(super) fn message_heard(&self, id: u64) -> Result<Value, String> {
        if self.voicemail.set_heard(MessageId(id)).map_err(words)? {
            Ok(json!({ "id": id, "heard": true }))
        } else {
            Err(missing(id))
        }
    }

    pub(super) fn message_delete(&self, id: u64) -> Result<Value, String> {
        if !self.voicemail.delete(MessageId(id)).map_err(words)? {
            return Err(missing(id));
        }
        if let Place::Online { mailroom, .. } = &self.place {
            mailroom.tell_uses();
        }
        Ok(json!({ "id": id, "deleted": true }))
    }
}

fn words(error: VoicemailError) -> String {
    error.to_string()
}

fn missing(id: u64) -> String {
    format!("message {id}: expected one that is there, got none; `ctl voicemail list` lists them")
}

fn item(site: &Site, stored: &StoredMessage, unmasked: bool) -> Value {
    let StoredMessage { id, message, octets, heard } = stored;
    let from = message.from.reveal();
    let tenant = site.tenants.iter().find(|tenant| tenant.id == message.tenant);
    json!({
        "id": id,
        // An extension that was deleted has no number any more.
        "mailbox": site.extensions.get(&message.mailbox).map(|extension| &extension.number),
        "tenant": tenant.map(|tenant| &tenant.name),
        "from": if unmasked { from.clone() } else { mask(from) },
        "received": message.at,
        "seconds": message.length.as_secs_f64(),
        "heard": heard,
        "octets": octets,
        "call": message.call,
    })
}
