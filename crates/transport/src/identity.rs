//! A node's ed25519 identity as TLS wants it: a raw public key (RFC 7250) and a self-signed certificate.
//!
//! Guarantees: both show the same key; the secret stays in one [`Keypair`], which wipes it when dropped;
//! the certificate is the same at every start of the node.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use shardpay_crypto::{Keypair, Signer as _};
use shardpay_types::PublicKey;

use crate::error::TransportError;
use crate::limits::SERVER_NAME;

/// DER of a SubjectPublicKeyInfo with algorithm id-Ed25519 (RFC 8410 §4), up to the key's 32 bytes.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A node's secret identity; wiped when dropped, never printed.
#[derive(Clone)]
pub struct Identity {
    keypair: Arc<Keypair>,
    public: PublicKey,
}

impl Identity {
    /// The identity that belongs to a 32-byte secret seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self::from_keypair(Arc::new(Keypair::from_seed(&seed)))
    }

    /// The identity of a key that is already in memory.
    pub fn from_keypair(keypair: Arc<Keypair>) -> Self {
        let public = keypair.public_key();
        Self { keypair, public }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The raw public key and the key that signs handshakes for it.
    pub(crate) fn raw_key(&self) -> Arc<CertifiedKey> {
        let shown = CertificateDer::from(spki(&self.public).to_vec());
        Arc::new(CertifiedKey::new(vec![shown], Arc::new(TlsKey(self.clone()))))
    }

    /// The self-signed certificate and the key that signs handshakes for it.
    pub(crate) fn certified_key(&self) -> Result<Arc<CertifiedKey>, TransportError> {
        let mut params = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[1]));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, SERVER_NAME);
        let certificate = params.self_signed(&CertificateKey(self))?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], Arc::new(TlsKey(self.clone())))))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.public)
    }
}

/// The key's SubjectPublicKeyInfo.
pub(crate) fn spki(key: &PublicKey) -> [u8; 44] {
    let mut der = [0; 44];
    der[..12].copy_from_slice(&SPKI_PREFIX);
    der[12..].copy_from_slice(key.as_bytes());
    der
}

/// The ed25519 key in a SubjectPublicKeyInfo; `None` when it is of another kind.
pub(crate) fn key_of_spki(der: &[u8]) -> Option<PublicKey> {
    let key = der.strip_prefix(&SPKI_PREFIX)?;
    key.try_into().ok().map(PublicKey)
}

/// Signs handshakes.
struct TlsKey(Identity);

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(Self(self.0.clone())) as _)
    }
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(spki(&self.0.public).to_vec()))
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.keypair.sign(message).0.to_vec())
    }
    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Signs the certificate.
struct CertificateKey<'a>(&'a Identity);

impl rcgen::PublicKeyData for CertificateKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public.as_bytes()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for CertificateKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.keypair.sign(message).0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_the_same_at_every_start_and_shows_the_key() {
        let identity = Identity::from_seed([7; 32]);
        let first = identity.certified_key().unwrap();
        let second = Identity::from_seed([7; 32]).certified_key().unwrap();
        assert_eq!(first.cert, second.cert);
        let parsed = rustls::server::ParsedCertificate::try_from(&first.cert[0]).unwrap();
        assert_eq!(key_of_spki(parsed.subject_public_key_info().as_ref()), Some(identity.public()));
    }

    #[test]
    fn only_whole_ed25519_keys_are_read() {
        let der = spki(&PublicKey([9; 32]));
        assert_eq!(key_of_spki(&der), Some(PublicKey([9; 32])));
        assert_eq!(key_of_spki(&der[..43]), None);
        assert_eq!(key_of_spki(&[0x30; 44]), None);
    }

    #[test]
    fn debug_hides_the_seed() {
        let shown = format!("{:?}", Identity::from_seed([0x42; 32]));
        assert!(!shown.contains("4242"), "{shown}");
    }
}
