//! The life of a network of 2 × 4 scripted nodes over real HTTP, with the signaler stopped in each phase.

#![allow(missing_docs, reason = "a test")]

use shardpay_client::signaler::{Phase, PlansQuery};
use shardpay_client::topology::{NodeState, TopologyQuery};
use shardpay_crypto::{Signer, chain_id};
use shardpay_signaler::{EpochClock, ServerError, StoreError};
use shardpay_types::{CommitteeId, Epoch, MemberIndex, Plan};

mod common;
use common::{
    MEMBERS, TOKEN, addresses, approval, approve, beat_all, heartbeat, http_client, keypair, now_us, phase,
    register_all, registration, reversed_keys, settings, start, try_start, wait_for,
};

#[tokio::test]
async fn a_network_lives_through_two_epochs() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings();
    settings.allowed = Some(reversed_keys());
    let (server, client) = start(dir.path(), settings).await;
    assert_eq!(phase(&client).await, (Phase::Registering, 0));
    register_all(&client).await;
    assert_eq!(phase(&client).await, (Phase::Genesis, 0));

    // places follow the allow-list
    let topology = client.topology().await.expect("topology");
    let genesis: Plan = topology.genesis.clone().expect("genesis").0;
    assert_eq!(topology.chain.expect("chain").0, chain_id(&genesis));
    assert_eq!(genesis.check(), Ok(()));
    let first = topology.member(CommitteeId::at(0), MemberIndex::at(0)).expect("a member");
    assert_eq!(first.key.0, keypair(7).public_key());
    assert_eq!(first.addresses(), addresses(7));
    assert_eq!((first.state, topology.committees[1].quorum), (NodeState::Unknown, 3));

    approve(&client, 2).await;
    assert_eq!(phase(&client).await, (Phase::Genesis, 0));
    approve(&client, 3).await;
    assert_eq!(phase(&client).await, (Phase::Producing, 0));
    // a late co-signature of genesis is kept too
    client.approve(approval(&genesis, &genesis, &genesis, 1, 3)).await.expect("taken");
    let plans = client.plans(PlansQuery::default()).await.expect("plans");
    assert_eq!(plans.genesis.expect("genesis").approvals.len(), 7);
    assert!(plans.proposal.is_none() && plans.changes.is_empty());

    for epoch in 0..2 {
        beat_all(&client, epoch).await;
        let reply = client.close_epoch(TOKEN, Epoch::new(epoch)).await.expect("ordered");
        assert_eq!(reply.phase, Phase::Closing);
        assert_eq!(client.close_epoch(TOKEN, Epoch::new(epoch)).await.expect("again").phase, Phase::Closing);
        approve(&client, 3).await;
        assert_eq!(phase(&client).await, (Phase::Handover, epoch));
        let plans = client.plans(PlansQuery { epoch: Some(epoch), ..PlansQuery::default() }).await.expect("plans");
        let change = &plans.changes[0].change;
        assert_eq!((plans.changes.len(), change.approvals.len(), change.plan.epoch.get()), (1, 6, epoch + 1));
        // one member of a committee may lie; two have an honest one among them
        client.heartbeat(&heartbeat(0, now_us(), epoch + 1)).await.expect("taken");
        assert_eq!(phase(&client).await, (Phase::Handover, epoch));
        beat_all(&client, epoch + 1).await;
        assert_eq!(phase(&client).await, (Phase::Producing, epoch + 1));
    }
    let member = client.topology().await.expect("topology").committees[0].members[0].clone();
    assert_eq!((member.state, member.progress.expect("heard of").epoch.get()), (NodeState::Up, 2));
    let health = client.health().await.expect("health");
    assert_eq!((health.registered, health.expected, health.up), (8, 8, 8));
    server.shutdown().await.expect("ends");
    let series = std::fs::read_to_string(dir.path().join("series.lp")).expect("written");
    assert!(series.contains("kind=signaler") && series.contains("approvals="), "{series}");
}

#[tokio::test]
async fn a_restart_in_any_phase_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    for step in 0..6 {
        let (server, client) = start(dir.path(), settings()).await;
        match step {
            0 => drop(client.register(&registration(0, 1)).await.expect("registered")),
            1 => {
                assert_eq!(client.topology().await.expect("topology").waiting.len(), 1);
                register_all(&client).await;
            }
            2 => {
                assert_eq!(phase(&client).await, (Phase::Genesis, 0));
                approve(&client, 2).await;
            }
            3 => {
                let plans = client.plans(PlansQuery::default()).await.expect("plans");
                assert_eq!(plans.genesis.expect("genesis").approvals.len(), 4);
                approve(&client, 3).await;
                client.close_epoch(TOKEN, Epoch::ZERO).await.expect("ordered");
            }
            4 => {
                assert_eq!(phase(&client).await, (Phase::Closing, 0));
                approve(&client, 4).await;
            }
            _ => {
                assert_eq!(phase(&client).await, (Phase::Handover, 0));
                beat_all(&client, 1).await;
                // nodes come back elsewhere
                client.register(&registration(3, 2)).await.expect("registered");
                assert_eq!(phase(&client).await, (Phase::Producing, 1));
            }
        }
        server.shutdown().await.expect("ends");
    }
    let (server, client) = start(dir.path(), settings()).await;
    assert_eq!(phase(&client).await, (Phase::Producing, 1));
    let plans = client.plans(PlansQuery::default()).await.expect("plans");
    assert_eq!(plans.changes.len(), 1);
    // frozen when the third member of the second committee had signed
    assert_eq!(plans.changes[0].change.approvals.len(), 4 + 3);

    let second = try_start(dir.path(), settings()).await.err().expect("one signaler per store");
    assert!(matches!(second, ServerError::Store(StoreError::Open { .. })), "{second}");
    server.shutdown().await.expect("ends");
    let mut other = settings();
    other.members = MEMBERS + 1;
    let foreign = try_start(dir.path(), other).await.err().expect("another network's store");
    assert!(foreign.to_string().contains("network.members"), "{foreign}");
}

#[tokio::test]
async fn the_epoch_clock_closes_by_height() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings();
    settings.clock = EpochClock { after: None, heights: Some(3) };
    let (server, client) = start(dir.path(), settings).await;
    register_all(&client).await;
    approve(&client, 3).await;
    assert_eq!(phase(&client).await, (Phase::Producing, 0));
    beat_all(&client, 0).await; // says height 3
    wait_for(&client, Phase::Closing, 0).await;
    server.shutdown().await.expect("ends");
}

#[tokio::test]
async fn the_epoch_clock_closes_and_opens_by_seconds() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings();
    let after = std::time::Duration::from_secs(1);
    settings.clock = EpochClock { after: Some(after), heights: None };
    let (server, client) = start(dir.path(), settings.clone()).await;
    register_all(&client).await;
    approve(&client, 3).await;
    let mut opened = std::time::Instant::now();
    for epoch in 0..3 {
        // nobody orders it: the clock does, not before its time
        wait_for(&client, Phase::Closing, epoch).await;
        let ran = opened.elapsed();
        assert!(ran + std::time::Duration::from_millis(500) > after, "epoch {epoch} closed after {ran:?}");
        approve(&client, 3).await;
        assert_eq!(phase(&client).await, (Phase::Handover, epoch));
        opened = std::time::Instant::now();
        beat_all(&client, epoch + 1).await;
        let (phase, running) = phase(&client).await;
        assert!(running == epoch + 1 && [Phase::Producing, Phase::Closing].contains(&phase), "{phase} {running}");
    }
    // the clock goes on over a restart: it counts from the epoch's start, which is in the store
    server.shutdown().await.expect("ends");
    let (server, client) = start(dir.path(), settings).await;
    wait_for(&client, Phase::Closing, 3).await;
    server.shutdown().await.expect("ends");
}

#[tokio::test]
async fn long_polls_wake_on_changes_and_silent_nodes_go_down() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings();
    settings.down_after = std::time::Duration::from_millis(300);
    let (server, client) = start(dir.path(), settings).await;
    let before = client.topology().await.expect("topology").version;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.topology_changed(TopologyQuery { after: Some(before), wait: Some(30) }).await }
    });
    register_all(&client).await;
    let woken = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.expect("wakes");
    assert_ne!(woken.expect("no panic").expect("topology").version, before);

    client.heartbeat(&heartbeat(0, now_us(), 0)).await.expect("taken");
    let mut topology = client.topology().await.expect("topology");
    for _ in 0..10 {
        if topology.members().any(|(_, member)| member.state == NodeState::Down) {
            break;
        }
        let query = TopologyQuery { after: Some(topology.version), wait: Some(2) };
        topology = client.topology_changed(query).await.expect("topology");
    }
    let down: Vec<_> = topology.members().filter(|(_, member)| member.state == NodeState::Down).collect();
    assert_eq!(down.len(), 1);
    assert_eq!(down[0].1.key.0, keypair(0).public_key());

    // the version as an ETag
    let url = format!("http://{}/v1/topology", server.addr());
    let http = http_client();
    let etag = http.get(&url).send().await.expect("an answer").headers()["etag"].clone();
    let same = http.get(&url).header("if-none-match", &etag).send().await.expect("an answer");
    assert_eq!(same.status().as_u16(), 304);
    // a server that stops ends long polls at once
    let waiting = tokio::spawn(async move {
        client.topology_changed(TopologyQuery { after: Some(topology.version), wait: Some(60) }).await
    });
    tokio::task::yield_now().await;
    tokio::time::timeout(std::time::Duration::from_secs(10), server.shutdown()).await.expect("soon").expect("ends");
    drop(waiting.await);
}
