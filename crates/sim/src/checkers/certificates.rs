//! Certificates that honest nodes put out: about a header they agree on, signed by Q distinct members.

use shardpay_crypto::{SignatureScheme, header_hash, header_message};
use shardpay_types::{CertifiedHeader, ChainId, Height, Plan};

use super::books::Books;
use super::{Violation, hold};

/// Whether Q distinct members of the header's committee signed it. Thresholds are computed here.
pub(crate) fn certificate_holds(
    scheme: &dyn SignatureScheme,
    chain: &ChainId,
    plan: &Plan,
    certified: &CertifiedHeader,
) -> bool {
    let Some(committee) = plan.committees.get(certified.header.committee.index()) else { return false };
    let members = committee.members.len();
    let message = header_message(chain, &header_hash(&certified.header));
    let mut signed = vec![false; members];
    for signature in certified.certificate.signatures() {
        let at = signature.member.index();
        if at < members && scheme.verify(&committee.members[at], &message, &signature.signature) {
            signed[at] = true;
        }
    }
    signed.iter().filter(|signed| **signed).count() >= members - (members - 1) / 3
}

/// What is certified in each committee.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// Per committee: certificates were checked up to this height.
    checked: Vec<u64>,
    /// Per node: last height put out as certified in this incarnation.
    last: Vec<u64>,
    /// Number of certificates checked.
    pub count: u64,
}

impl Certificates {
    /// Of so many committees and nodes.
    pub(crate) fn new(committees: usize, nodes: usize) -> Self {
        Self { checked: vec![0; committees], last: vec![0; nodes], count: 0 }
    }

    /// `node` starts again: what it puts out starts again, too.
    pub(crate) fn restarted(&mut self, node: usize) {
        self.last[node] = 0;
    }

    /// Highest height certified in `committee`, as far as any honest node said.
    pub(crate) fn height(&self, committee: usize) -> Height {
        Height::new(self.checked[committee])
    }

    /// Honest `node` says that a header is certified. Each header's certificate is checked in full the
    /// first time, later ones by hash (and every 16th in full).
    pub(crate) fn certified(
        &mut self,
        node: usize,
        books: &Books,
        scheme: &dyn SignatureScheme,
        certified: &CertifiedHeader,
    ) -> Result<(), Violation> {
        let header = &certified.header;
        let (committee, height) = (header.committee.index(), header.height);
        let known = books.header_at(committee, height);
        let rule = "certificates";
        hold!(
            known == Some(header_hash(header)),
            rule,
            "committee {committee} height {height} is certified, not executed"
        );
        let last = &mut self.last[node];
        hold!(height.get() > *last, rule, "height {height} certified after {last}");
        *last = height.get();
        self.count += 1;
        if height.get() > self.checked[committee] || self.count.is_multiple_of(16) {
            let plan = books.plan(header.epoch.get() as usize);
            let good = plan.is_some_and(|plan| certificate_holds(scheme, &header.chain, plan, certified));
            hold!(good, rule, "committee {committee} height {height}: fewer than Q good signatures");
            self.checked[committee] = self.checked[committee].max(height.get());
        }
        Ok(())
    }
}
