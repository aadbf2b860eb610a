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
    let verifier = MemberKeys { roster, algorithms: provider.signature_verification_algorithms };
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
    let verifier = ExpectedKey { expected, raw: true, algorithms: provider.signature_verification_algorithms };
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
    let verifier = ExpectedKey { expected, raw: false, algorithms: provider.signature_verification_algorithms };
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

fn tls12_refused() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

/// Takes clients with a member's raw key.
struct MemberKeys {
    roster: Arc<dyn Admits>,
    algorithms: WebPkiSupportedAlgorithms,
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
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let key = key_of_spki(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.roster.admits(&key) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_raw(message, cert, dss, &self.algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes a server with one certain key.
#[derive(Debug)]
struct ExpectedKey {
    expected: PublicKey,
    /// Whether it is shown as a raw key; otherwise in a certificate.
    raw: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ExpectedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = if self.raw {
            key_of_spki(end_entity)
        } else {
            let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
            key_of_spki(parsed.subject_public_key_info().as_ref())
        };
        match key {
            None => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
            Some(key) if key == self.expected => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.raw {
            verify_raw(message, cert, dss, &self.algorithms)
        } else {
            verify_tls13_signature(message, cert, dss, &self.algorithms)
        }
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

fn verify_raw(
    message: &[u8],
    spki: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
    verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms)
}
