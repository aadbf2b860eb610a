//! A dialler that takes any server, with rustls' own key loading instead of the crate's: for tests of what the
//! server takes.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Of the peer port: shows the raw key of `seed`.
pub(crate) fn peer_config(seed: u8, alpn: &[u8]) -> quinn::ClientConfig {
    // RFC 8410 §7: PKCS#8 of an ed25519 seed
    let mut pkcs8 =
        vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    pkcs8.extend_from_slice(&[seed; 32]);
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8)).unwrap();
    let shown: SubjectPublicKeyInfoDer<'_> = key.public_key().unwrap();
    let shown = CertificateDer::from(shown.as_ref().to_vec());
    let certified = Arc::new(rustls::sign::CertifiedKey::new(vec![shown], key));
    let resolver = Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified));
    quic(builder(true).with_client_cert_resolver(resolver), alpn)
}

/// Of the client port: shows no key.
pub(crate) fn client_config(alpn: &[u8]) -> quinn::ClientConfig {
    quic(builder(false).with_no_client_auth(), alpn)
}

fn builder(raw: bool) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer { raw }))
}

fn quic(mut tls: rustls::ClientConfig, alpn: &[u8]) -> quinn::ClientConfig {
    tls.alpn_protocols = vec![alpn.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

#[derive(Debug)]
struct AnyServer {
    /// Whether it shows a raw key, as the peer port does.
    raw: bool,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}
