//! TLS 1.3 settings of both ports: who has to show which key.
//!
//! Guarantees: ring is the only provider, TLS 1.3 the only version, ed25519 the only signature. Sessions
//! are never resumed, so every connection proves its keys. On the peer port both sides show raw public keys
//! (RFC 7250): the server takes members' keys only, the dialler exactly the key it dialled. On the client
//! port the server shows a certificate whose key the client has pinned; names and dates in it mean nothing.

use std::fmt;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::crypto::{ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use shardpay_types::PublicKey;

use crate::error::TransportError;
use crate::identity::{Identity, key_of_spki};
use crate::limits::{CLIENT_ALPN, PEER_ALPN};

/// Says whether a key may connect to the peer port.
pub(crate) trait Admits: Send + Sync {
    fn admits(&self, key: &PublicKey) -> bool;
}

/// The provider of all TLS here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The peer port's side that is dialled.
pub(crate) fn peer_server(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    roster: Arc<dyn Admits>,
) -> Result<quinn::ServerConfig, TransportError> {
    let verifier = MemberKeys { roster, proof: Proof::new(provider, Shown::RawKey) };
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(identity.raw_key())));
    tls.alpn_protocols = vec![PEER_ALPN.to_vec()];
    Ok(server(tls))
}

/// The peer port's side that dials the node with key `expected`.
pub(crate) fn peer_client(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    expected: PublicKey,
) -> Result<quinn::ClientConfig, TransportError> {
    let verifier = ExpectedKey { expected, proof: Proof::new(provider, Shown::RawKey) };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(
            identity.raw_key(),
        )));
    Ok(client(tls, PEER_ALPN))
}

/// The client port's side in the node.
pub(crate) fn client_server(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
) -> Result<quinn::ServerConfig, TransportError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity.certified_key()?)));
    tls.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
    Ok(server(tls))
}

/// The client port's side in clients, for the node with key `expected`.
pub(crate) fn client_client(
    provider: &Arc<CryptoProvider>,
    expected: PublicKey,
) -> Result<quinn::ClientConfig, TransportError> {
    let verifier = ExpectedKey { expected, proof: Proof::new(provider, Shown::Certificate) };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(client(tls, CLIENT_ALPN))
}

fn server(mut tls: rustls::ServerConfig) -> quinn::ServerConfig {
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let quic = QuicServerConfig::try_from(tls).expect("the provider has QUIC's initial cipher suite");
    quinn::ServerConfig::with_crypto(Arc::new(quic))
}

fn client(mut tls: rustls::ClientConfig, alpn: &[u8]) -> quinn::ClientConfig {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    let quic = QuicClientConfig::try_from(tls).expect("the provider has QUIC's initial cipher suite");
    quinn::ClientConfig::new(Arc::new(quic))
}

/// As what the other side shows its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// A raw public key (RFC 7250).
    RawKey,
    /// A certificate that holds it.
    Certificate,
}

/// How the other side shows its key, and how it proves that it holds it.
#[derive(Debug, Clone, Copy)]
struct Proof {
    shown: Shown,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Proof {
    fn new(provider: &CryptoProvider, shown: Shown) -> Self {
        Self { shown, algorithms: provider.signature_verification_algorithms }
    }

    /// The key that is shown.
    fn key(&self, shown: &CertificateDer<'_>) -> Result<PublicKey, Error> {
        let key = match self.shown {
            Shown::RawKey => key_of_spki(shown),
            Shown::Certificate => {
                let parsed = rustls::server::ParsedCertificate::try_from(shown)?;
                key_of_spki(parsed.subject_public_key_info().as_ref())
            }
        };
        key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    /// Whether the key signed the handshake.
    fn check(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.shown {
            Shown::RawKey => {
                let spki = SubjectPublicKeyInfoDer::from(shown.as_ref());
                verify_tls13_signature_with_raw_key(message, &spki, signed, &self.algorithms)
            }
            Shown::Certificate => verify_tls13_signature(message, shown, signed, &self.algorithms),
        }
    }
}

/// The methods that rustls' two verifier traits have in common, by the field `proof`.
macro_rules! verified_by_proof {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _shown: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            shown: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.proof.check(message, shown, signed)
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
        fn requires_raw_public_keys(&self) -> bool {
            self.proof.shown == Shown::RawKey
        }
    };
}

/// What is said of a key that is well shown and not taken.
fn not_taken() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// Takes clients with a member's key.
struct MemberKeys {
    roster: Arc<dyn Admits>,
    proof: Proof,
}

impl fmt::Debug for MemberKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemberKeys")
    }
}

impl ClientCertVerifier for MemberKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let key = self.proof.key(shown)?;
        if self.roster.admits(&key) { Ok(ClientCertVerified::assertion()) } else { Err(not_taken()) }
    }
    verified_by_proof!();
}

/// Takes a server with one certain key.
#[derive(Debug)]
struct ExpectedKey {
    expected: PublicKey,
    proof: Proof,
}

impl ServerCertVerifier for ExpectedKey {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.proof.key(shown)? == self.expected { Ok(ServerCertVerified::assertion()) } else { Err(not_taken()) }
    }
    verified_by_proof!();
}
