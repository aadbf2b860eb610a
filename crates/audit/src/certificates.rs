//! All certificates of a committee, checked in batches on all cores.

use std::thread;

use shardpay_crypto::{ShortMessage, SignatureScheme as _, SignedItem, Zip215, header_message, sha256};
use shardpay_types::{Certificate, ChainId, HeaderHash, PublicKey};

use crate::committee::quorum;
use crate::verdict::{CheckName, Findings};

/// Certificates checked in one batch.
const BATCH: usize = 64;

/// A certificate and what it must hold.
struct Claim {
    place: String,
    message: ShortMessage,
    certificate: Certificate,
    members: Vec<PublicKey>,
}

/// Certificates that wait to be checked. Equal ones of several members are checked once.
pub(crate) struct Certificates {
    chain: ChainId,
    claims: Vec<Claim>,
    last: Option<(HeaderHash, usize)>,
    found: u64,
}

impl Certificates {
    pub(crate) fn new(chain: ChainId) -> Self {
        Self { chain, claims: Vec::new(), last: None, found: 0 }
    }

    pub(crate) fn add(&mut self, place: String, hash: HeaderHash, certificate: Certificate, members: &[PublicKey]) {
        self.found += 1;
        let from = match self.last {
            Some((last, from)) if last == hash => from,
            _ => self.claims.len(),
        };
        self.last = Some((hash, from));
        if self.claims[from..].iter().all(|claim| claim.certificate != certificate) {
            let message = header_message(&self.chain, &hash);
            self.claims.push(Claim { place, message, certificate, members: members.to_vec() });
        }
    }

    /// Checks all of them.
    pub(crate) fn check(self, findings: &mut Findings) {
        findings.figure(CheckName::CertificatesVerify, "certificates", self.found);
        findings.figure(CheckName::CertificatesVerify, "different_certificates", self.claims.len() as u64);
        // the weights of a batch must not be known to whoever made the signatures: they hang on all of them
        let seed = self.claims.iter().fold([0; 32], |seed, claim| {
            claim.certificate.signatures().iter().fold(seed, |seed, signed| sha256(&[&seed, &signed.signature.0]))
        });
        let scheme = Zip215::new(seed, 4_096);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = self.claims.len().div_ceil(threads).max(1);
        let bad: Vec<String> = thread::scope(|scope| {
            let parts: Vec<_> = self
                .claims
                .chunks(share)
                .map(|part| {
                    scope.spawn(|| part.chunks(BATCH).flat_map(|batch| refused(&scheme, batch)).collect::<Vec<_>>())
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().expect("checking does not panic")).collect()
        });
        for why in bad {
            findings.fail(CheckName::CertificatesVerify, || why);
        }
    }
}

/// The claims of a batch that do not hold.
fn refused(scheme: &Zip215, batch: &[Claim]) -> Vec<String> {
    let signatures = |claim: &Claim| -> Vec<_> {
        let signed = claim.certificate.signatures().iter();
        signed.filter_map(|signed| Some((*claim.members.get(signed.member.index())?, signed.signature))).collect()
    };
    let items: Vec<SignedItem<'_>> = batch
        .iter()
        .flat_map(|claim| {
            signatures(claim).into_iter().map(|(key, signature)| SignedItem { key, message: &claim.message, signature })
        })
        .collect();
    let mut verdicts = scheme.verify_batch(&items).into_iter();
    let mut refused = Vec::new();
    for claim in batch {
        // members of a certificate are distinct by its type
        let valid = verdicts.by_ref().take(signatures(claim).len()).filter(|good| *good).count();
        let needed = quorum(claim.members.len());
        if valid < needed || needed == 0 {
            refused.push(format!("{}: {valid} valid signatures, {needed} needed", claim.place));
        }
    }
    refused
}
