//! Carrying out what the replica orders.

use std::sync::Arc;
use std::time::Instant;

use shardpay_ledger::TxReject;
use shardpay_replica::{Answer, ClientToken, Event, LedgerOrder, Output, PersistId, Record, Refusal};
use shardpay_telemetry::names;
use shardpay_types::{
    BlockRef, Blocks, Codec, Epoch, ExecutedAt, LedgerItem, List, NodeId, PeerMessage, RejectReason, TxAnswer, TxId,
    TxResult,
};

use super::{Core, LAZY_SYNC, Turn};
use crate::clock;
use crate::error::Halt;
use crate::feed::FeedBlock;
use crate::node::NodeEvent;
use crate::outgoing::class_of;

impl Core {
    /// Takes over the replica's orders. Answers need nothing durable and are grouped by client.
    pub(super) fn collect(&mut self, turn: &mut Turn) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                Output::Persist { id, record } => {
                    turn.is_urgent |= self.is_waited_for(&record);
                    self.note_record(&record);
                    turn.records.push((id, record));
                }
                Output::Answer { client, txid, answer } => self.answer(client, txid, answer, turn),
                other => turn.orders.push(other),
            }
        }
    }

    /// Whether something is sent only once this is durable.
    fn is_waited_for(&self, record: &Record) -> bool {
        match record {
            Record::Block(block) => self.is_own(block.block()),
            Record::HeaderVote { .. } | Record::PlanApproval { .. } => true,
        }
    }

    fn note_record(&mut self, record: &Record) {
        let Record::Block(block) = record else { return };
        self.metrics.blocks_accepted.add(1);
        if self.is_own(block.block()) {
            self.metrics.blocks_proposed.add(1);
            self.metrics.proposed.add(block.block().payload.transaction_count() as u64);
            self.stages.proposed(block.block());
        }
    }

    fn answer(&mut self, client: ClientToken, txid: TxId, answer: Answer, turn: &mut Turn) {
        let answer = match answer {
            Answer::Accepted => return self.metrics.admitted.add(1),
            Answer::Busy { retry_after_ms } => {
                self.stages.refused(&txid);
                self.metrics.refuse(names::TRANSACTIONS_REFUSED, "busy");
                TxAnswer::Busy(retry_after_ms)
            }
            Answer::Rejected(refusal) => {
                self.stages.refused(&txid);
                let reason = reason_of(refusal);
                self.metrics.refuse(names::TRANSACTIONS_REFUSED, &reason.to_string());
                TxAnswer::Rejected(reason)
            }
            Answer::Executed { height, leaf, outcome } => {
                self.stages.executed(&txid, height);
                TxAnswer::Executed(ExecutedAt { height, leaf, outcome })
            }
        };
        turn.answers.push((client, TxResult { txid, answer }));
    }

    /// Ends a turn: records into the log, then everything else in order.
    pub(super) fn carry_out(&mut self, turn: &mut Turn, lazy: &mut Option<(PersistId, Instant)>) -> Result<(), Halt> {
        if let Some((last, _)) = turn.records.last() {
            let last = *last;
            self.ports.records.write(&turn.records)?;
            self.metrics.records.add(turn.records.len() as u64);
            turn.records.clear();
            if std::mem::take(&mut turn.is_urgent) {
                self.ports.sync.want(last);
                *lazy = None;
            } else {
                let due = lazy.map_or_else(|| Instant::now() + LAZY_SYNC, |(_, due)| due);
                *lazy = Some((last, due));
            }
        }
        if let Some((last, _)) = lazy.take_if(|(_, due)| *due <= Instant::now()) {
            self.ports.sync.want(last);
        }
        for order in std::mem::take(&mut turn.orders) {
            self.pass_on(order, turn)?;
        }
        turn.encoder.forget();
        self.deliver_answers(turn);
        Ok(())
    }

    fn pass_on(&mut self, order: Output, turn: &mut Turn) -> Result<(), Halt> {
        match order {
            Output::Persist { .. } | Output::Answer { .. } => unreachable!("collected apart"),
            Output::Send { to, message } => {
                if let Some(bent) = &self.ports.bent {
                    bent.send(to, message);
                    return Ok(());
                }
                let bytes = turn.encoder.encode(&message);
                self.ports.net.send(to, class_of(&message), bytes);
            }
            Output::Ledger(order) => self.order_ledger(order),
            Output::ServeStored { to, epoch, refs } => self.serve_stored(to, epoch, refs),
            Output::Prune { epoch, below } => self.ports.records.prune(epoch, below),
            Output::Certified { certified, block } => {
                let height = certified.header.height;
                self.metrics.headers_certified.add(1);
                self.stages.certified(height);
                if let Some(block) = block {
                    let credits = block.items.iter().filter(|item| matches!(item, LedgerItem::Pack(_)));
                    let credits: u64 = credits.map(|item| item.leaf_count() as u64).sum();
                    self.metrics.credits_certified.add(credits);
                    self.metrics.certified.add(u64::from(block.header.leaf_count) - credits);
                    self.ports.feed.push(FeedBlock::new(certified, block, Some(Instant::now())));
                }
            }
            Output::PlanApproved(approval) => self.tell(NodeEvent::PlanApproved(approval)),
            Output::CheckpointCertified(checkpoint) => self.tell(NodeEvent::CheckpointCertified(checkpoint)),
            Output::EpochStarted(epoch) => self.tell(NodeEvent::EpochStarted(epoch)),
            Output::VerifyContextChanged(context) => self.ports.context.set(context),
            Output::Event(event) => self.event(&event),
        }
        Ok(())
    }

    fn order_ledger(&mut self, order: LedgerOrder) {
        match &order {
            LedgerOrder::Execute(commit) => {
                let transactions = commit.blocks.iter().map(|block| block.block().payload.transaction_count() as u64);
                self.metrics.committed.add(transactions.sum());
                let own = self.own.member;
                self.stages.committed(commit, |block| block.author == own);
            }
            // the asker has a timer and asks another member
            LedgerOrder::Serve { .. } if self.ports.ledger.len() >= self.ports.serves_max => {
                return self.metrics.refuse(names::PEER_REFUSED, "ledger_busy");
            }
            _ => {}
        }
        // the ledger's thread goes before the core only when its store fails, and then the node stops
        let _ = self.ports.ledger.send(order);
    }

    /// Reads stored blocks away from the core. Requests are budgeted per node by the replica.
    fn serve_stored(&self, to: NodeId, epoch: Epoch, refs: Vec<BlockRef>) {
        let (records, net, bent) = (self.ports.records.clone(), self.ports.net.clone(), self.ports.bent.clone());
        self.ports.runtime.spawn_blocking(move || {
            let mut found = Vec::new();
            for reference in &refs {
                match records.block(epoch, reference) {
                    Ok(block) => found.extend(block),
                    Err(error) => return tracing::error!(%error, "a stored block cannot be read"),
                }
            }
            if !found.is_empty() {
                let blocks = List::bounded(found.into_iter().map(shardpay_types::RawBlock).collect());
                let message = PeerMessage::Blocks(Blocks { epoch, requested: true, blocks });
                match bent {
                    Some(bent) => bent.send(to, Arc::new(message)),
                    None => net.send(to, class_of(&message), message.to_bytes().into()),
                }
            }
        });
    }

    fn tell(&self, event: NodeEvent) {
        if self.ports.events.try_send(event).is_err() {
            tracing::warn!("an event was dropped: nobody takes them");
        }
    }

    fn event(&self, event: &Event) {
        if matches!(event, Event::Equivocation(_)) {
            self.metrics.recorder.counter(names::EQUIVOCATIONS).add(1);
        }
        let kind = match event {
            Event::Equivocation(_)
            | Event::StaysOut(_)
            | Event::HaltedByFork(_)
            | Event::HaltedByHeaders(_)
            | Event::SignedAnother { .. } => names::EVENT_FAULT,
            Event::CatchUpStarted | Event::Rejoined(_) => names::EVENT_LIFECYCLE,
            Event::RelayRefused(_) => names::EVENT_PEER,
        };
        let text = describe(event);
        match event {
            Event::HaltedByFork(_) | Event::HaltedByHeaders(_) | Event::SignedAnother { .. } => {
                tracing::error!("{text}");
            }
            Event::Equivocation(_) | Event::StaysOut(_) | Event::RelayRefused(_) => tracing::warn!("{text}"),
            Event::CatchUpStarted | Event::Rejoined(_) => tracing::info!("{text}"),
        }
        self.metrics.recorder.event(clock::now(), kind, text);
    }

    fn deliver_answers(&self, turn: &mut Turn) {
        if turn.answers.is_empty() {
            return;
        }
        turn.answers.sort_by_key(|(client, _)| *client);
        for answers in turn.answers.chunk_by(|a, b| a.0 == b.0) {
            if let Some(mailbox) = self.ports.sessions.get(answers[0].0) {
                let results: Vec<TxResult> = answers.iter().map(|(_, result)| *result).collect();
                mailbox.push(&results);
            }
        }
        turn.answers.clear();
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Equivocation(proof) => {
            format!("member {} made two blocks of round {}", proof.first.author, proof.first.round)
        }
        Event::StaysOut(newest) => format!(
            "the store lacks own blocks (peers have round {}): the node follows, but neither proposes nor signs",
            newest.round
        ),
        Event::HaltedByFork(proof) => format!(
            "two certified blocks of member {} in round {}: more than f members are faulty, the node halts",
            proof.first.author, proof.first.round
        ),
        Event::HaltedByHeaders(proof) => format!(
            "two certified headers of height {}: more than f members are faulty, the node halts",
            proof.first.header.height
        ),
        Event::SignedAnother { height, remembered } => format!(
            "execution of height {height} differs from what was signed before the restart ({remembered}): the node halts"
        ),
        Event::CatchUpStarted => "too far behind for the DAG: replaying ledger blocks".to_owned(),
        Event::Rejoined(round) => format!("replayed far enough: the DAG goes on above round {round}"),
        Event::RelayRefused(committee) => format!("records of committee {committee} do not verify"),
    }
}

/// What a client is told.
fn reason_of(refusal: Refusal) -> RejectReason {
    match refusal {
        Refusal::Ledger(reject) => match reject {
            TxReject::SequenceUsed => RejectReason::SequenceUsed,
            TxReject::SequenceGap => RejectReason::SequenceGap,
            TxReject::WrongCommittee => RejectReason::WrongCommittee,
            TxReject::AmountTooSmall => RejectReason::AmountTooSmall,
            TxReject::Expired => RejectReason::Expired,
            TxReject::DepositUsed => RejectReason::DepositUsed,
            TxReject::MintCapReached => RejectReason::MintCapReached,
            TxReject::BadRecipient => RejectReason::BadRecipient,
            TxReject::RecipientFull => RejectReason::RecipientFull,
            TxReject::DestinationBusy => RejectReason::DestinationBusy,
            TxReject::EpochClosed => RejectReason::EpochClosed,
            TxReject::OpaqueRefused => RejectReason::OpaqueRefused,
        },
        Refusal::TooFarAhead => RejectReason::TooFarAhead,
        Refusal::SequencePending => RejectReason::SequencePending,
        Refusal::ShortBalance => RejectReason::ShortBalance,
        Refusal::NotProposing => RejectReason::NotProposing,
    }
}
