//! ES256 (RFC 7518 §3.4): ECDSA over P-256 with SHA-256, the signature as r and s of 32 octets each.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

/// The length of a signature.
pub(crate) const SIGNATURE: usize = 64;
/// The length of a public key: an uncompressed point.
pub(crate) const POINT: usize = 65;

/// A private key for signing cannot be used. For the operator; the key is never told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("expected a private key as PEM (BEGIN PRIVATE KEY or BEGIN EC PRIVATE KEY): {0}")]
    Pem(String),
    #[error("expected a key on the curve P-256 (make one with `openssl ecparam -name prime256v1 -genkey -noout`)")]
    NotP256,
}

/// A private key on P-256. Its bytes leave it nowhere.
pub struct SigningKey {
    pair: EcdsaKeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// PKCS #8 or SEC 1, as PEM.
    pub fn from_pem(pem: &str) -> Result<SigningKey, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| KeyError::Pem(error.to_string()))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
            }
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der())
            }
            _ => return Err(KeyError::NotP256),
        };
        Ok(SigningKey { pair: pair.map_err(|_| KeyError::NotP256)? })
    }

    /// The uncompressed point, 65 octets.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The signature of a message. Its nonce is the library's own chance, whatever the simulation's seed.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        let signature = self.pair.sign(&SystemRandom::new(), message).expect("a key that was read can sign");
        signature.as_ref().try_into().expect("r and s of 32 octets each")
    }
}

/// Whether the holder of the key made this signature.
pub(crate) fn verify(point: &[u8; POINT], message: &[u8], signature: &[u8; SIGNATURE]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
}
