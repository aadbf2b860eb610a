//! When a member cannot keep up it stops adding load, never voting; no commit is dropped.

mod common;

use common::{Builder, Net, Observer, Options, member};
use shardpay_consensus::{Input, Recovered, Start};

#[test]
fn a_full_execution_queue_pauses_output_only() {
    let mut builder = Builder::new(4);
    builder.full(1..=100);
    let mut observer = Observer::new(&builder, 0);
    observer.hold = true;
    observer.push_all(&builder);
    assert_eq!(observer.committed(), (1..=16).collect::<Vec<_>>());
    let status = observer.status();
    assert_eq!((status.executing, status.last_output.get(), status.highest_accepted.get()), (16, 16, 100));
    observer.input(Input::CommitExecuted);
    assert_eq!(observer.committed().len(), 17);
    observer.hold = false;
    (0..16).for_each(|_| observer.input(Input::CommitExecuted));
    assert_eq!(observer.committed(), (1..=98).collect::<Vec<_>>(), "none is dropped");
}

fn proposals(builder: &Builder, hold: bool) -> Vec<(u64, bool)> {
    let mut observer = Observer::new(builder, 3);
    observer.answer = true;
    observer.hold = hold;
    observer.input(Input::WorkChanged { pending: true });
    for block in &builder.blocks {
        observer.push(block);
        observer.pass(10);
    }
    observer.proposals
}

#[test]
fn a_backlog_of_execution_stops_payload_not_votes() {
    let mut builder = Builder::new(4);
    builder.only(1..=40, &[0, 1, 2]);
    let keeping_up = proposals(&builder, false);
    assert!(keeping_up.iter().all(|(_, payload)| *payload), "{keeping_up:?}");
    let behind = proposals(&builder, true);
    let rounds: Vec<u64> = behind.iter().map(|(round, _)| *round).collect();
    assert_eq!(rounds, (1..=40).collect::<Vec<_>>(), "it votes in every round");
    // Eight commits may wait. The ninth leader leads round 12 (ours, every fourth, are skipped: nobody
    // stands on our blocks here) and is certified by round 14.
    assert!(behind.iter().all(|(round, payload)| *payload == (*round <= 14)), "{behind:?}");
}

/// What a member that restarts with these blocks proposes first.
fn first_proposal(builder: &Builder) -> (u64, bool) {
    let recovered = Recovered { blocks: builder.blocks.clone(), ..Recovered::default() };
    let mut observer = Observer::start(builder.config(3), Start::Restart(recovered));
    observer.input(Input::WorkChanged { pending: true });
    (0..2).for_each(|from| observer.input(Input::PeerStatus { from: member(from), highest: Vec::new() }));
    observer.pass(11_000);
    observer.proposals[0]
}

#[test]
fn too_many_uncommitted_rounds_stop_payload() {
    for (rounds, allowed) in [(19, true), (20, false), (40, false)] {
        let mut builder = Builder::new(4);
        builder.full(1..=1);
        for number in 2..=rounds {
            // Two votes and two blames for each leader: nothing is ever decided.
            let leader = ((number - 1) % 4) as usize;
            let without: Vec<usize> = (0..4).filter(|author| *author != leader).collect();
            for author in 0..4 {
                let votes = author == leader || author == (leader + 1) % 4;
                builder.layer(number, &[author], if votes { &[0, 1, 2, 3] } else { &without });
            }
        }
        assert_eq!(first_proposal(&builder), (rounds + 1, allowed));
    }
    let mut builder = Builder::new(4);
    builder.full(1..=40);
    assert_eq!(first_proposal(&builder), (41, true), "committed rounds do not count");
}

#[test]
fn a_slow_member_never_stops_the_committee_and_work_is_not_lost() {
    let mut net = Net::new(Options::new(4));
    net.options.execution_ms = 120;
    for tag in 1..=80 {
        net.submit((tag % 4) as usize, tag);
        net.run(15);
    }
    assert!(net.run_until(30_000, |net| (1..=80).all(|tag| net.all_have(tag))));
    net.check();
    net.run(15_000);
    net.assert_quiet(3_000);
}
