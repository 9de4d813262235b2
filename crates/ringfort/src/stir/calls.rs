//! `[stir]` of `ringfort.toml`: what calls are verified and signed with.

use std::path::Path;

use anyhow::Context as _;
use ringfort_net::stir::FetchConfig;
use ringfort_stir::rejection::RejectionCard;
use ringfort_stir::{Settings, Signer, SigningKey, TrustAnchors, Verifier};
use ringfort_switch::identity::Stir;

use super::card::Maker;
use crate::config;

/// Reads keys and certificates.
///
/// # Errors
/// A file that cannot be read or used, with the key of the configuration that names it.
pub fn load(stir: &config::Stir) -> anyhow::Result<Stir> {
    let verifier = match &stir.trust {
        Some(path) => {
            let anchors = TrustAnchors::from_bytes(&read(path, "trust")?).with_context(|| named(path, "trust"))?;
            let settings = Settings { freshness: stir.freshness, ..Settings::default() };
            Some(Verifier::new(settings, anchors))
        }
        None => None,
    };
    let signer = match (&stir.key, &stir.info) {
        (Some(path), Some(info)) => {
            let key = private_key(path)?;
            let chain = stir.certificate.as_deref().map(|path| read(path, "certificate")).transpose()?;
            Some(Signer::new(&key, info, chain.as_deref()).with_context(|| named(path, "key"))?)
        }
        _ => None,
    };
    Ok(Stir { verifier, signer, card_url: stir.card.as_ref().map(|card| card.url.clone()) })
}

/// What the cards of 608 responses are made of; `None` where there are none.
///
/// # Errors
/// As [`load`].
pub fn card(stir: &config::Stir) -> anyhow::Result<Option<Maker>> {
    let (Some(card), Some(path), Some(info)) = (&stir.card, &stir.key, &stir.info) else { return Ok(None) };
    let key = SigningKey::from_pem(&private_key(path)?).with_context(|| named(path, "key"))?;
    let card = RejectionCard { name: card.name.clone(), contacts: card.contacts.clone() };
    card.to_jcard().context("[stir] card_name, card_contacts")?;
    Ok(Some(Maker { card, x5u: info.clone(), key }))
}

fn private_key(path: &Path) -> anyhow::Result<String> {
    let text = String::from_utf8(read(path, "key")?).map_err(|_| anyhow::anyhow!("it is no PEM"));
    text.with_context(|| named(path, "key"))
}

/// How certificates are fetched.
pub fn fetching(stir: &config::Stir) -> FetchConfig {
    FetchConfig { ca_file: stir.web_ca.clone(), allow_private: stir.inner, ..FetchConfig::default() }
}

fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| named(path, key))
}

fn named(path: &Path, key: &str) -> String {
    format!("[stir] {key} = {path:?}")
}
